/* Which inputs are not what they were when the checkpoint file was written. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cli/job.h"

/* An error has room for a few paths. */
#define CHANGES_SHOWN 5
#define PATH_SHOWN 100
#define FACTS_MAX 96

/* What stream_identity says of a file. */
struct facts {
    bool file;
    int64_t size, mtime_ns;
};

static struct facts facts_of(const char *identity)
{
    struct facts facts = {.file = true};

    if (sscanf(identity, "file size=%" SCNd64 " mtime=%" SCNd64, &facts.size, &facts.mtime_ns) != 2)
        facts.file = false;
    return facts;
}

static const char *facts_text(const struct facts *facts, bool exactly, char text[FACTS_MAX])
{
    const int64_t second = INT64_C(1000000000);
    time_t seconds = (time_t)(facts->mtime_ns / second);
    char when[40] = "", fraction[16] = "";
    struct tm parts;

    if (!facts->file)
        return "no file";
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
    if (exactly)
        snprintf(fraction, sizeof fraction, ".%09d", (int)(facts->mtime_ns % second));
    snprintf(text, FACTS_MAX, "%" PRId64 " bytes of %s%s UTC", facts->size, when, fraction);
    return text;
}

/* One of them is NULL where the input was added or removed. */
static void tell_change(const char *path, const char *before, const char *now, struct error *error)
{
    const struct facts was = facts_of(before != NULL ? before : now), is = facts_of(now != NULL ? now : before);
    bool same_second = was.mtime_ns / 1000000000 == is.mtime_ns / 1000000000;
    char was_text[FACTS_MAX], is_text[FACTS_MAX];
    size_t size = strlen(path);

    error_hint(error, "\ninput \"%s%s\": ", size > PATH_SHOWN ? "…" : "",
               path + (size > PATH_SHOWN ? size - PATH_SHOWN : 0));
    if (before == NULL)
        error_hint(error, "added, %s", facts_text(&is, false, is_text));
    else if (now == NULL)
        error_hint(error, "removed, was %s", facts_text(&was, false, was_text));
    else if (was.file && is.file && was.size == is.size && was.mtime_ns == is.mtime_ns)
        error_hint(error, "other content, of the same size and time");
    else
        error_hint(error, "was %s, now %s", facts_text(&was, same_second, was_text),
                   facts_text(&is, same_second, is_text));
}

void job_tell_inputs(const struct job *job, const struct checkpoint_state *state, struct error *error)
{
    size_t count = job->identities != NULL ? job->input_count : 0, changes = 0;

    if (state->input_count == 0)
        return;
    /* Both are in the order of their paths. */
    for (size_t i = 0, j = 0; i < state->input_count || j < count;) {
        const struct checkpoint_text *before = i < state->input_count ? &state->inputs[i] : NULL;
        const char *path = j < count ? job->set.sources[j].name : NULL;
        int order = before == NULL ? 1 : path == NULL ? -1 : strcmp(before->key, path);

        i += order <= 0;
        j += order >= 0;
        if (order == 0 && strcmp(before->value, job->identities[j - 1]) == 0)
            continue;
        if (++changes <= CHANGES_SHOWN)
            tell_change(order <= 0 ? before->key : path, order <= 0 ? before->value : NULL,
                        order >= 0 ? job->identities[j - 1] : NULL, error);
    }
    if (changes > CHANGES_SHOWN)
        error_hint(error, "\n… and %zu more inputs", changes - CHANGES_SHOWN);
}
