/*
 * hyperfill-bench-bytes: reads an input as hyperfill does, decompressed, and drops it. For bench/inputs.sh.
 *
 *     hyperfill-bench-bytes FILE [MEMORY_MB [before]]
 *
 * `before`: its checksums are verified before any of it is given, as --verify-input says.
 * Prints the size of the text, so that two programs can be seen to have had the same.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "readers/bytes.h"

/* As the input's buffer, into which the router has bytes read. */
#define CHUNK ((size_t)1 << 20)
#define MEMORY_DEFAULT 256

static enum status read_all(const struct bytes_file *file, bool verify, int64_t *size, struct error *error)
{
    char *chunk = malloc(CHUNK);
    struct bytes *bytes = NULL;
    size_t got = 1;
    enum status status =
        chunk != NULL ? bytes_open(file, 0, NULL, &bytes, error) : error_set(error, STATUS_SYSTEM, "out of memory");

    if (status == STATUS_OK && verify)
        status = bytes_verify(bytes, 0, NULL, error);
    for (*size = 0; status == STATUS_OK && got > 0; *size += (int64_t)got)
        status = bytes_read(bytes, NULL, chunk, CHUNK, &got, error);
    bytes_close(bytes);
    free(chunk);
    return status;
}

int main(int argc, char **argv)
{
    struct bytes_file file = {.seekable = true, .threads = 4};
    struct error error;
    struct stat facts;
    int64_t size;

    if (argc < 2) {
        fprintf(stderr, "usage: hyperfill-bench-bytes FILE [MEMORY_MB [before]]\n");
        return STATUS_USAGE;
    }
    file.name = argv[1];
    file.fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (file.fd < 0 || fstat(file.fd, &facts) != 0) {
        perror(argv[1]);
        return STATUS_SYSTEM;
    }
    file.size = facts.st_size;
    file.memory_bytes = (argc > 2 ? strtoll(argv[2], NULL, 10) : MEMORY_DEFAULT) << 20;
    error_reset(&error);
    if (read_all(&file, argc > 3, &size, &error) != STATUS_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], error.text);
        return (int)error.status;
    }
    printf("%" PRId64 "\n", size);
    return 0;
}
