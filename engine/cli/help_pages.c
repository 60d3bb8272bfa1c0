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
    "Usage: hyperfill run --source SPEC --target CONNINFO --table NAME [options]\n"
    "\n"
    "When the checkpoint file exists the job goes on from it; options that define\n"
    "the job must then be the same, those for speed and output may change.\n";

static const char run_examples[] =
    "  A table of another server, newest first, with eight writers:\n"
    "    hyperfill run --source 'host=old dbname=app' --jobs 8 \\\n"
    "        --target 'host=new dbname=ts' --table metrics \\\n"
    "        --until '2026-01-31 00:00:00+00'\n"
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
    "would load its rows a second time. Scratch copies that a bench left when it was\n"
    "killed are removed, too.\n";

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

static const char clean_examples[] =
    "  hyperfill clean --target 'host=new dbname=ts' --table metrics\n";

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
    "cloned. Before the switch it can be run once more: sequences follow.\n";

static const char schema_examples[] =
    "  hyperfill schema --source 'host=old dbname=app' \\\n"
    "      --target 'host=new dbname=ts' --hypertable 'metrics=time,1 day' --dry-run\n";
/* clang-format on */

#define UNWRITTEN(name) "hyperfill " name ": not built yet\n", "  hyperfill " name "\n"

const struct help_page help_pages[] = {
    [COMMAND_PLAN] = {plan_text, plan_examples},       [COMMAND_RUN] = {run_text, run_examples},
    [COMMAND_STATUS] = {status_text, status_examples}, [COMMAND_CLEAN] = {clean_text, clean_examples},
    [COMMAND_REPLAY] = {replay_text, replay_examples}, [COMMAND_BENCH] = {bench_text, bench_examples},
    [COMMAND_SCHEMA] = {schema_text, schema_examples}, [COMMAND_COMPLETION_POINT] = {UNWRITTEN("completion-point")},
    [COMMAND_POLICIES] = {UNWRITTEN("policies")},      [COMMAND_VERIFY] = {UNWRITTEN("verify")},
    [COMMAND_REFRESH] = {UNWRITTEN("refresh")},        [COMMAND_MIGRATE] = {UNWRITTEN("migrate")},
};
