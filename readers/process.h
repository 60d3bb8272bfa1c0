/*
 * A command of the user, run by /bin/sh in a session of its own: no terminal, /dev/null as input, no descriptor and no
 * signal mask of ours. Its output is a pipe; what it says on standard error goes to chatter.h.
 *
 *     hyperfill ──┬── /bin/sh -c COMMAND ── …   its group: killed as a whole, whoever is in it
 *                 └── a guard, which kills that group when hyperfill is gone, however it went
 */
#pragma once

#include <stddef.h>

#include "engine/error.h"
#include "engine/stop.h"

struct process;

/* `name` stands for the command in messages, since the text may hold a password; borrowed until process_free. */
MUST_CHECK enum status process_start(const char *command, const char *name, struct process **process,
                                     struct error *error);

/* The reading end of its standard output; stays the process's. */
int process_output(const struct process *process);

/*
 * Reads at least one byte of its output; *got is 0 at the end, of which process_wait tells what it is worth. Once
 * nothing new is to be begun, a command that stays silent for a second is not waited for: STATUS_STOPPED. `stop` may be
 * NULL.
 */
MUST_CHECK enum status process_read(struct process *process, char *buffer, size_t room, struct stop *stop, size_t *got,
                                    struct error *error);

/*
 * Waits for the command's own end. STATUS_OK only for exit status 0. STATUS_USAGE if it could not be found or executed
 * (127, 126), else STATUS_TRANSIENT, with its status or signal and its last words. May be asked again.
 */
MUST_CHECK enum status process_wait(struct process *process, struct stop *stop, struct error *error);

/* What still runs of it is asked to end (SIGTERM), and killed after a second. Nothing of it is left. NULL is fine. */
void process_free(struct process *process);

/*
 * What a command is called in messages: "exec:" and the base name of its first word, "exec:command" where that is no
 * plain name. Assignments before it are passed over.
 */
#define PROCESS_NAME_MAX 64
void process_name(const char *command, char name[PROCESS_NAME_MAX]);
