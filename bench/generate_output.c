#include "bench/generate.h"

#include <errno.h>
#include <unistd.h>

char output_buffer[OUTPUT_BYTES];

void output_write(const char *end)
{
    const char *from = output_buffer;

    while (from < end) {
        const ssize_t written = write(STDOUT_FILENO, from, (size_t)(end - from));

        if (written >= 0)
            from += written;
        else if (errno != EINTR)
            die(EXIT_SYSTEM, "cannot write to standard output: %m");
    }
}
