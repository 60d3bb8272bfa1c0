/*
 * What a command says on its standard error: read by a thread of its own, so that the command never waits for us to
 * listen. Its last words are kept for messages; whole lines are logged, as many as an operator can read.
 */
#pragma once

#include <stddef.h>

#include "engine/error.h"

struct chatter;

/* Takes the descriptor, which is the reading end of a pipe. `name` is who speaks; borrowed until the end. */
MUST_CHECK enum status chatter_start(int fd, const char *name, struct chatter **chatter, struct error *error);

/* Readable once nobody can say any more. Only for poll(2). */
int chatter_end_fd(const struct chatter *chatter);

/* Takes what was said until now and ends the thread, whoever still holds the pipe. */
void chatter_finish(struct chatter *chatter);

/* After chatter_finish: adds the last lines to the error's text, if there are any. */
void chatter_tell(const struct chatter *chatter, struct error *error);

/* After chatter_finish; NULL is fine. */
void chatter_free(struct chatter *chatter);
