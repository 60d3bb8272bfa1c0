/*
 * Questions to the person at the terminal.
 */
#pragma once

#include "engine/stop.h"

/* Whether there is one who can read a question and answer it. */
bool ask_can(void);

/* Whether the person says yes. Waits for a line or for the stop, which is a no. */
bool ask(struct stop *stop, const char *question);
