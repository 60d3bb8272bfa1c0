/* What a command is called, without a word of what may be secret in it. */
#include "readers/process.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_plain(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("_./:@%+,-", c) != NULL);
}

void process_name(const char *command, char name[PROCESS_NAME_MAX])
{
    const char *base;
    size_t size;

    for (;;) {
        command += strspn(command, " \t\n");
        for (base = command, size = 0; is_plain(command[size]); size++)
            if (command[size] == '/')
                base = command + size + 1;
        if (size == 4 && memcmp(command, "exec", size) == 0 && command[size] == ' ') {
            command += size;
            continue;
        }
        if (command[size] != '=')
            break;
        /* An assignment is passed over if its value is as plain, so that a piece of a quoted one is never shown. */
        for (size++; is_plain(command[size]) || command[size] == '='; size++)
            ;
        if (strchr(" \t\n", command[size]) == NULL || command[size] == '\0')
            break;
        command += size;
    }
    size = (size_t)(command + size - base);
    if (size == 0 || base[size] == '=' || size > PROCESS_NAME_MAX - sizeof "exec:" ||
        (base[size] != '\0' && strchr(" \t\n;|&", base[size]) == NULL) || memchr(base, '=', size) != NULL) {
        snprintf(name, PROCESS_NAME_MAX, "exec:command");
        return;
    }
    snprintf(name, PROCESS_NAME_MAX, "exec:%.*s", (int)size, base);
}
