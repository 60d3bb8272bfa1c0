/* Random inputs. */
#include "tests/unit/fixture_router.h"

#include <inttypes.h>

unsigned base_seed(void)
{
    const char *given = getenv("HYPERFILL_TEST_SEED");

    return given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
}

int random_below(unsigned *seed, int limit)
{
    return (int)((unsigned)rand_r(seed) % (unsigned)limit);
}

static int64_t time_of(const struct plan *plan, int row, unsigned *seed)
{
    const int64_t span = (UNTIL_RANGES + 2) * INTERVAL;
    int64_t even = span * row / plan->rows;

    switch (plan->order) {
    case ORDERED: break;
    case REVERSED: even = span - 1 - even; break;
    case JITTERED: even += random_below(seed, INTERVAL / 4); break;
    case SHUFFLED: even = random_below(seed, (int)span); break;
    case BY_HOST: even = span * (row % (plan->rows / 7 + 1)) / (plan->rows / 7 + 1); break;
    case ORDER_COUNT: abort();
    }
    /* One range before the window of time, and one behind it. */
    return even - INTERVAL;
}

static size_t payload_write(const struct plan *plan, char *to, unsigned *seed)
{
    int size = random_below(seed, random_below(seed, 50) == 0 ? plan->payload : plan->payload / 3 + 1);
    bool quoted = plan->quotes && random_below(seed, 3) == 0;
    size_t used = 0;

    if (quoted)
        to[used++] = '"';
    for (int i = 0; i < size; i++) {
        int dice = random_below(seed, 40);

        if (quoted && dice == 0) {
            to[used++] = '"';
            to[used++] = '"';
        } else if (quoted && dice < 3) {
            to[used++] = "\n,"[dice - 1];
        } else {
            to[used++] = (char)('a' + random_below(seed, 4));
        }
    }
    if (quoted)
        to[used++] = '"';
    return used;
}

void data_make(struct data *data, const struct plan *plan)
{
    unsigned seed = plan->seed;
    size_t room = (size_t)plan->rows * ((size_t)plan->payload * 2 + 64) + 64;
    char *text = malloc(room);
    const char *line_end = plan->crlf ? "\r\n" : "\n";
    size_t used = 0;
    int64_t line = 1;

    data->records = calloc((size_t)plan->rows + 1, sizeof *data->records);
    assert_true(text != NULL && data->records != NULL);
    if (plan->header)
        used = (size_t)sprintf(text, plan->time_index == 0 ? "time,payload%s" : "payload,time%s", line_end);
    for (int row = 0; row < plan->rows; row++) {
        struct record *record = &data->records[row];

        *record = (struct record){.at = used, .time = time_of(plan, row, &seed)};
        record->bad = plan->bad && random_below(&seed, 30) == 0;
        if (record->bad && random_below(&seed, 3) == 0) {
            used += (size_t)sprintf(text + used, "\\.");
        } else {
            if (plan->time_index == 0)
                used += (size_t)sprintf(text + used, "%s%" PRId64 ",", record->bad ? "x" : "", record->time);
            used += payload_write(plan, text + used, &seed);
            if (plan->time_index == 1)
                used += (size_t)sprintf(text + used, ",%" PRId64 "%s", record->time, record->bad ? "x" : "");
        }
        if (!plan->open_end || row < plan->rows - 1)
            used += (size_t)sprintf(text + used, "%s", line_end);
        record->size = used - record->at;
    }
    data->count = plan->rows;
    data->input = (struct input){.text = text, .size = used, .lines = calloc(used + 1, sizeof(int64_t))};
    assert_non_null(data->input.lines);
    for (size_t i = 0; i < used; i++) {
        data->input.lines[i] = line;
        line += text[i] == '\n';
    }
}

void data_free(struct data *data)
{
    free(data->input.text);
    free(data->input.lines);
    free(data->records);
}

/* None, one with room for all, or one that is soon full. */
int64_t spill_make(unsigned *dice)
{
    static const int limits[] = {0, 64 << 20, 1 << 20, 64 << 10};
    int limit = limits[random_below(dice, 4)];

    return limit > 0 ? 1 + random_below(dice, limit) : 0;
}

struct plan plan_make(unsigned seed)
{
    unsigned dice = seed * 2654435761u;
    static const uint32_t block_sizes[] = {4096, 4096, 16384};
    struct plan plan = {
        .seed = seed,
        .order = (enum order)random_below(&dice, ORDER_COUNT),
        .rows = 1 + random_below(&dice, 3000),
        .payload = 1 + random_below(&dice, random_below(&dice, 3) == 0 ? 3000 : 400),
        .header = random_below(&dice, 2) == 0,
        .stream = random_below(&dice, 2) == 0,
        .crlf = random_below(&dice, 4) == 0,
        .open_end = random_below(&dice, 3) == 0,
        .quotes = random_below(&dice, 2) == 0,
        .time_index = random_below(&dice, 2),
        .block_size = block_sizes[random_below(&dice, 3)],
        .slow = random_below(&dice, 2) == 0,
        .bad = random_below(&dice, 3) == 0,
    };

    plan.pool_bytes = (int64_t)plan.block_size * (8 + random_below(&dice, random_below(&dice, 2) == 0 ? 9 : 200));
    plan.memory_bytes = random_below(&dice, 2) == 0 ? 64 << 10 : 8 << 20;
    plan.spill_bytes = spill_make(&dice);
    return plan;
}

struct plan small_plan(bool stream)
{
    return (struct plan){
        .block_size = 4096,
        .pool_bytes = 65536,
        .memory_bytes = 65536,
        .rows = 1,
        .payload = 1,
        .stream = stream,
    };
}

void input_from(struct input *input, char *text)
{
    int64_t line = 1;

    *input = (struct input){.text = text, .size = strlen(text), .lines = calloc(strlen(text) + 1, sizeof(int64_t))};
    assert_non_null(input->lines);
    for (size_t i = 0; i < input->size; i++) {
        input->lines[i] = line;
        line += text[i] == '\n';
    }
}
