/* Questions to the person at the terminal. */
#include "engine/cli/ask.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

bool ask_can(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* Reading alone would not hear a signal, which is for another thread. */
bool ask(struct stop *stop, const char *question)
{
    struct pollfd waits[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = stop_drain_fd(stop), .events = POLLIN}};
    char answer[16];

    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    if (poll(waits, 2, -1) <= 0 || (waits[1].revents & POLLIN) != 0) {
        fputc('\n', stderr);
        return false;
    }
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}
