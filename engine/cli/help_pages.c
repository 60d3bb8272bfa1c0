/* What the help says before and after the options of a command. */
#include "engine/cli/commands.h"

/* clang-format off */
const char help_overview[] =
    "hyperfill moves the history of a time-series table into a TimescaleDB\n"
    "hypertable: in parallel, every row exactly once, resumable at any moment.\n"
    "\n"
    "Commands\n"
    "  hyperfill plan     show what a run would do, and change nothing\n"
    "  hyperfill run      start a backfill, or resume it where it stopped\n"
    "  hyperfill status   show how far a job is, from its checkpoint file\n"
    "  hyperfill clean    forget the ledger of a finished job\n"
    "  hyperfill replay   load rejected rows that were corrected\n"
    "  hyperfill bench    measure both sides, and say which settings to take\n"
    "\n"
    "The steps around it\n"
    "  hyperfill migrate            all steps of a migration, one after the other\n"
    "  hyperfill schema             clone the schema and all but time-series rows\n"
    "  hyperfill completion-point   find the time up to which to load\n"
    "  hyperfill policies           pause and restore background jobs of tables\n"
    "  hyperfill verify             compare both sides, and repair what differs\n"
    "  hyperfill refresh            refresh continuous aggregates of what was loaded\n"
    "\n"
    "  hyperfill help COMMAND   all options of a command, with their defaults\n"
    "\n"
    "From PostgreSQL, up to where the application's dual writes began:\n"
    "  hyperfill run --source 'host=old dbname=app' --target 'host=new dbname=ts' \\\n"
    "      --table metrics --until '2026-01-31 00:00:00+00'\n"
    "\n"
    "From a CSV file:\n"
    "  hyperfill run --source metrics.csv --target 'host=new dbname=ts' \\\n"
    "      --table metrics\n"
    "\n"
    "Stopped, killed or failed? Run the same command again: it goes on from what\n"
    "the target has committed. Ctrl-C once finishes what is in flight, twice aborts.\n"
    "\n"
    "Exit status\n"
    "  0  done\n"
    "  2  usage      the command line or a setting is wrong: change it\n"
    "  3  data       rows that the target cannot take, or rows that are in the way\n"
    "  4  server     a server refuses for good: missing table, privilege, feature\n"
    "  5  transient  a server or the network failed for too long: run it again later\n"
    "  6  system     this machine: file, disk, memory\n"
    "  7  stopped    you asked it to stop; run it again to resume\n"
    "  8  rejects    all is loaded but the rows in the reject file\n";

static const char plan_text[] =
    "hyperfill plan: show what a run would do, and change nothing\n"
    "\n"
    "Usage: hyperfill plan --source SPEC --target CONNINFO --table NAME [options]\n"
    "\n"
    "Takes the options of run. Checks both sides, and prints the ranges, the\n"
    "estimated rows and bytes, and what would stand in the way.\n";

static const char plan_examples[] =
    "  hyperfill plan --source 'host=old dbname=app' --target 'host=new dbname=ts' \\\n"
    "      --table metrics --until '2026-01-31 00:00:00+00'\n";

static const char run_text[] =
    "hyperfill run: start a backfill, or resume it where it stopped\n"
    "\n"
    "Usage: hyperfill run --source SPEC --target CONNINFO --table NAME... [options]\n"
    "\n"
    "When the checkpoint file exists the job goes on from it; options that define\n"
    "the job must then be the same, those for speed and output may change.\n"
    "\n"
    "--cascade also copies what continuous aggregates on the tables keep, also those\n"
    "on other aggregates: history of which retention has dropped the raw rows cannot\n"
    "be made again by refreshing. Both sides have the aggregate under one name, with\n"
    "the same buckets (hyperfill schema makes it). Copied are the buckets that end at\n"
    "or before the completion point, in the type of the table's time, as far as the\n"
    "source has made them; from the one on that holds --from. The first run fixes\n"
    "which. Then run hyperfill refresh: it makes the later ones from raw rows, and\n"
    "leaves those that were copied alone. A refresh policy of the target does not:\n"
    "where one reaches back to raw rows that are loaded, it makes their buckets anew,\n"
    "also the oldest one, of which part of the raw rows may be gone. Let it begin\n"
    "behind that (start_offset). Policies are paused while run works.\n";

static const char run_examples[] =
    "  A table of another server, newest first, with eight writers:\n"
    "    hyperfill run --source 'host=old dbname=app' --jobs 8 \\\n"
    "        --target 'host=new dbname=ts' --table metrics \\\n"
    "        --until '2026-01-31 00:00:00+00'\n"
    "\n"
    "  Many tables of it in one job. A table that fails does not stop the others;\n"
    "  the exit status is the worst, and the end says which failed and why:\n"
    "    hyperfill run --source 'host=old dbname=app' --target 'host=new dbname=ts' \\\n"
    "        --filter '^metrics' --until '2026-01-31 00:00:00+00' \\\n"
    "        --table public.ticks --until public.ticks=1769817600\n"
    "\n"
    "  A hypertable with the history that its continuous aggregates keep:\n"
    "    hyperfill run --source 'host=old dbname=app' --target 'host=new dbname=ts' \\\n"
    "        --table metrics --cascade --until '2026-01-31 00:00:00+00'\n"
    "    hyperfill refresh --target 'host=new dbname=ts' --table metrics\n"
    "\n"
    "  A compressed, tab-separated file without a header:\n"
    "    zcat metrics.tsv.gz | hyperfill run --source - --no-header \\\n"
    "        --delimiter '\\t' --target 'host=new dbname=ts' --table metrics\n"
    "\n"
    "  A command for each range, four at a time. {from} and {until} are written as\n"
    "  the time column's type does; {from:%Y-%m-%d %H:%M:%S} as strftime does, in\n"
    "  UTC; {from:epoch}, epoch-ms, epoch-us, epoch-ns count since 1970. Braces of\n"
    "  the command itself are doubled. Its exit status must be 0, or nothing counts:\n"
    "    hyperfill run --target 'host=new dbname=ts' --table metrics --readers 4 \\\n"
    "        --from 2025-01-01T00:00Z --until 2026-01-31T00:00Z --timezone UTC \\\n"
    "        --source \"exec:sqlite3 -csv -header old.db \\\"SELECT * FROM metrics WHERE\n"
    "        time >= '{from:%F %T}' AND time < '{until:%F %T}'\\\"\"\n";

static const char status_text[] =
    "hyperfill status: show how far a job is, from its checkpoint file\n"
    "\n"
    "Usage: hyperfill status --checkpoint FILE [--json]\n"
    "       hyperfill status --table NAME [--json]\n"
    "\n"
    "Needs no server, and may be asked while the job runs.\n";

static const char status_examples[] =
    "  hyperfill status --table metrics\n"
    "  hyperfill status --checkpoint hyperfill-metrics.checkpoint --json\n";

static const char clean_text[] =
    "hyperfill clean: forget the ledger of a finished job\n"
    "\n"
    "Usage: hyperfill clean --target CONNINFO --table NAME [options]\n"
    "\n"
    "The rows stay. Without its ledger a job cannot be resumed: running it again\n"
    "would load its rows a second time. With the last job of the table go what other\n"
    "commands have noted about it: comparisons that were interrupted, migrations that\n"
    "are done, and with the last job of all what schema has made; then the ledger's\n"
    "own schema. Policies that are paused are left so, and it says so. Scratch copies\n"
    "that a bench left when it was killed are removed, too.\n"
    "\n"
    "--cascade forgets the jobs of its continuous aggregates as well: refresh does\n"
    "not know then which buckets were loaded.\n";

static const char replay_text[] =
    "hyperfill replay: load rejected rows that were corrected\n"
    "\n"
    "Usage: hyperfill replay --source SPEC --target CONNINFO --table NAME [options]\n"
    "\n"
    "Takes the options of run. Correct the rows in the reject file where they are;\n"
    "the n-th row of it belongs to the n-th line of FILE.reasons. A row that is to\n"
    "be dropped for good becomes an empty line. Each row is loaded once, however\n"
    "often it is replayed.\n";

static const char replay_examples[] =
    "  hyperfill run --on-bad-row reject --source metrics.csv \\\n"
    "      --target 'host=new dbname=ts' --table metrics\n"
    "  vi hyperfill-metrics.rejects\n"
    "  hyperfill replay --source metrics.csv --target 'host=new dbname=ts' \\\n"
    "      --table metrics\n";

static const char bench_text[] =
    "hyperfill bench: measure source, target and this machine\n"
    "\n"
    "Usage: hyperfill bench --source SPEC --target CONNINFO --table NAME [options]\n"
    "\n"
    "Takes the options of run. Reads the source alone, writes alone, and does both,\n"
    "each with more and more writers; says where more of them stop to help, which\n"
    "side is the limit, and which settings to take. Writes only into a scratch copy\n"
    "of the table, in a schema of its own named hyperfill_bench_…, which is removed\n"
    "at the end, however that comes: after a kill -9 by the next bench or clean. The\n"
    "role needs CREATE on the database. What is read again may come from caches.\n";

static const char bench_examples[] =
    "  hyperfill bench --source 'host=old dbname=app' --target 'host=new dbname=ts' \\\n"
    "      --table metrics --until '2026-01-31 00:00:00+00' --output-dir measured\n";

static const char policies_text[] =
    "hyperfill policies: pause background jobs that meddle, restore them, show them\n"
    "\n"
    "Usage: hyperfill policies pause|restore|show --target CONNINFO --table NAME\n"
    "\n"
    "A run pauses the retention, compression, reorder and refresh policies of the\n"
    "table and of continuous aggregates on it by itself, and restores them however\n"
    "it ends; after a kill -9 the next run does, or `policies restore`. What `pause`\n"
    "has paused stays so, over any number of runs, until `restore`. Policies that\n"
    "were off before stay off. While a run still loads the table, `restore` leaves\n"
    "it to that one.\n"
    "\n"
    "A retention policy that would drop what was loaded is not switched on again:\n"
    "history that is older than drop_after would be gone within a day. Give it a\n"
    "longer drop_after (alter_job) and restore again, or say --allow-drop. So it is\n"
    "with retention of a continuous aggregate whose rows were loaded (run --cascade).\n";

static const char policies_examples[] =
    "  hyperfill policies show --target 'host=new dbname=ts' --table metrics\n"
    "  hyperfill policies restore --target 'host=new dbname=ts' --table metrics\n";

static const char refresh_text[] =
    "hyperfill refresh: refresh continuous aggregates where history was loaded\n"
    "\n"
    "Usage: hyperfill refresh --target CONNINFO --table NAME\n"
    "       hyperfill refresh --target CONNINFO --table NAME --from TIME --until TIME\n"
    "\n"
    "Refresh policies never look as far back as a backfill goes. This refreshes the\n"
    "aggregates on the table, and those on these, over exactly what finished jobs\n"
    "have loaded since it was last run, widened to whole buckets; or over a window.\n"
    "Stopped or killed? Run it again: it goes on. The role must own the aggregates.\n"
    "What retention has dropped of the table is left alone, unless a window is given.\n"
    "Buckets that were loaded into an aggregate (run --cascade) are always left as\n"
    "they are: made are the one that holds the completion point, and those that the\n"
    "source had not made. A real-time aggregate shows what its table has only before\n"
    "the last bucket that was refreshed; so the last one that was loaded is made once\n"
    "more where nothing follows, if its raw rows are all there.\n";

static const char refresh_examples[] =
    "  hyperfill refresh --target 'host=new dbname=ts' --table metrics\n";

static const char clean_examples[] =
    "  hyperfill clean --target 'host=new dbname=ts' --table metrics\n";

static const char verify_text[] =
    "hyperfill verify: compare what was loaded with the source, and repair it\n"
    "\n"
    "Usage: hyperfill verify --source SPEC --target CONNINFO --table NAME [options]\n"
    "\n"
    "Takes the options that name the job. From a PostgreSQL source all rows of the\n"
    "window are compared, range by range, on both sides at once: their number, and\n"
    "a hash of their texts that does not depend on their order, nor on that of the\n"
    "columns, time zones or versions of the servers. Where a range differs, it finds\n"
    "the smallest stretches that do, looks at these again a second later, and shows\n"
    "which rows are missing in the target, extra, or different. It only reads; the\n"
    "source may be a standby. The exit status is 3 if anything differs.\n"
    "\n"
    "What was found equal is remembered in the ledger's schema: one that was\n"
    "interrupted goes on, one that came to its end begins anew. --repair deletes the\n"
    "target's rows of each stretch that differs and copies the source's, in one\n"
    "transaction, and compares it once more a second later, as dual writes may be at\n"
    "it meanwhile; interrupted or killed, run it again.\n"
    "\n"
    "From CSV the number of rows in each range is compared with what the ledger says\n"
    "was loaded: rows that are gone or too many are seen, changed ones are not. With\n"
    "--aside the source is loaded once more into a scratch copy, and all is compared.\n"
    "\n"
    "--cascade compares the buckets of continuous aggregates that run --cascade has\n"
    "copied as well, each aggregate by itself; --json prints an object for each.\n";

static const char verify_examples[] =
    "  hyperfill verify --source 'host=old dbname=app' --jobs 8 \\\n"
    "      --target 'host=new dbname=ts' --table metrics \\\n"
    "      --until '2026-01-31 00:00:00+00' --repair\n"
    "  hyperfill verify --source metrics.csv --target 'host=new dbname=ts' \\\n"
    "      --table metrics --aside\n";

static const char point_text[] =
    "hyperfill completion-point: find the time up to which to load\n"
    "\n"
    "Usage: hyperfill completion-point --source CONNINFO --target CONNINFO \\\n"
    "           --table NAME [options]\n"
    "\n"
    "For when the application writes to both sides. Compares them over the recent\n"
    "past, bucket by bucket, twice; shows where the target lacks rows since dual\n"
    "writes had not begun for all writers, where both are equal, and where rows still\n"
    "come late. Proposes a completion point amid the equal part, as the --until to\n"
    "give to run. Where there is none yet it says when to look again (exit status 3).\n"
    "Only reads, and keeps what it found in the target's ledger, where it may: run\n"
    "knows then that its --until was measured. An index that begins with the time\n"
    "column makes it quick.\n";

static const char point_examples[] =
    "  hyperfill completion-point --source 'host=old dbname=app' \\\n"
    "      --target 'host=new dbname=ts' --table metrics\n"
    "  hyperfill completion-point --source 'host=old dbname=app' \\\n"
    "      --target 'host=new dbname=ts' --table metrics --columns time,device \\\n"
    "      --window 6h --bucket 1m --watch 120 --json\n";

static const char schema_text[] =
    "hyperfill schema: clone the schema and all but time-series rows\n"
    "\n"
    "Usage: hyperfill schema --source CONNINFO --target CONNINFO [options]\n"
    "\n"
    "pg_dump says what the source consists of; it must be of the version of both\n"
    "servers, or later. Hypertables, their columnstore settings, policies and\n"
    "continuous aggregates are made again, so versions of TimescaleDB may differ and\n"
    "the source may have none. Rows of all other tables are copied, sequences moved.\n"
    "\n"
    "What is there and equal is left alone; what differs is named, and nothing more\n"
    "is done. However it ended, run it again: it completes. What cannot be cloned\n"
    "(for an Apache target, or for want of a privilege) is listed as left out.\n"
    "Publications, subscriptions, tablespaces, large objects and passwords are never\n"
    "cloned.\n"
    "\n"
    "The source's sequences go on meanwhile. --sequences moves the target's after\n"
    "them, those of identity columns too, and none back: do so when writers of the\n"
    "source have stopped, before those of the target begin.\n";

static const char schema_examples[] =
    "  hyperfill schema --source 'host=old dbname=app' \\\n"
    "      --target 'host=new dbname=ts' \\\n"
    "      --hypertable 'metrics=time,1 day' --dry-run\n"
    "  hyperfill schema --source 'host=old dbname=app' \\\n"
    "      --target 'host=new dbname=ts' --sequences\n";

static const char migrate_text[] =
    "hyperfill migrate: all steps of a migration, one after the other\n"
    "\n"
    "Usage: hyperfill migrate --file FILE [options]\n"
    "       hyperfill migrate --source SPEC --target CONNINFO --table NAME [options]\n"
    "       hyperfill migrate status --file FILE [--json]\n"
    "\n"
    "Looks at both sides, shows the plan, asks once, and goes through the steps:\n"
    "\n"
    "  check             look at both sides; a problem stops, a warning does not\n"
    "  schema            clone the schema and relational data\n"
    "  dual-writes       yours: let the application write to both databases\n"
    "  completion-point  find the time up to which to load\n"
    "  run               load the history of each table up to there\n"
    "  catch-up          load rows that came late\n"
    "  refresh           refresh continuous aggregates of what was loaded\n"
    "  verify            compare both sides\n"
    "  sequences         move the target's sequences to where the source's stand\n"
    "  switch-over       yours: let the application use the target alone\n"
    "  clean             forget the ledger\n"
    "\n"
    "At a step of yours it says what to do and ends. Called again it asks whether\n"
    "that is done, and goes on; where it cannot ask, --continue says so. What is done\n"
    "stands in the target's ledger: after a Ctrl-C, a failure or a kill the same\n"
    "command goes on with the step that was not done. Rows that dual writes have put\n"
    "before the completion point are replaced, unless overlap says otherwise.\n"
    "\n"
    "The file has sections. Keys are options of this command and of those that the\n"
    "steps are, without the dashes, with - or _ in them; switches are yes or no:\n"
    "\n"
    "  [migration]             for all tables; the command line goes before it\n"
    "  source = service=old    a conninfo or URI, or env:VARIABLE\n"
    "  target = service=new\n"
    "  cascade = yes           and what continuous aggregates keep: see help run\n"
    "  jobs = 8\n"
    "\n"
    "  [table metrics]         for this table; goes before [migration]\n"
    "  source_table = app.metrics\n"
    "  hypertable = time,1d    the time column and chunks of a plain table\n"
    "\n"
    "  [table events]          until: the completion point, where you know it\n"
    "  until = 2026-01-31 00:00:00+00\n"
    "\n"
    "  [steps]\n"
    "  schema = skip           done by other means\n"
    "\n"
    "A line that is indented goes on with the value before it. Comments begin with ;\n"
    "or # in the first column, or with a ; after a blank.\n";

static const char migrate_examples[] =
    "  hyperfill migrate --file app.ini\n"
    "  hyperfill migrate status --file app.ini --json\n"
    "\n"
    "  Without a terminal: the plan is fine; and later: dual writes are on.\n"
    "    hyperfill migrate --file app.ini --yes\n"
    "    hyperfill migrate --file app.ini --continue\n";
/* clang-format on */

const struct help_page help_pages[] = {
    [COMMAND_PLAN] = {plan_text, plan_examples},
    [COMMAND_RUN] = {run_text, run_examples},
    [COMMAND_STATUS] = {status_text, status_examples},
    [COMMAND_CLEAN] = {clean_text, clean_examples},
    [COMMAND_REPLAY] = {replay_text, replay_examples},
    [COMMAND_BENCH] = {bench_text, bench_examples},
    [COMMAND_SCHEMA] = {schema_text, schema_examples},
    [COMMAND_COMPLETION_POINT] = {point_text, point_examples},
    [COMMAND_POLICIES] = {policies_text, policies_examples},
    [COMMAND_VERIFY] = {verify_text, verify_examples},
    [COMMAND_REFRESH] = {refresh_text, refresh_examples},
    [COMMAND_MIGRATE] = {migrate_text, migrate_examples},
};
