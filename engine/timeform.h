/*
 * Forms of times that the server does not read itself: epochs and strptime-like patterns. A column with such a form is
 * written anew for the server (time_format), which does read that.
 */
#pragma once

#include "engine/error.h"
#include "engine/timevalue.h"

/*
 * `iso`, `epoch`, `epoch-ms`, `epoch-us`, `epoch-ns`, or a pattern, into column->form and ->pattern (borrowed).
 * STATUS_USAGE for a pattern that is none, names no whole date, or says something twice.
 *
 * Epochs are whole numbers since 1970-01-01 00:00 UTC, with a fraction for seconds and milliseconds; what is finer than
 * a microsecond is cut off, towards the past. In a pattern, blanks stand for one or more blanks, other bytes for
 * themselves, and
 *
 *   %Y four digits   %y two: 69..99 are 19xx   %m %d %H %I %M %S one or two digits   %p AM or PM
 *   %b %B %h month by its English name         %a %A weekday, not looked at          %e %k %l as %d %H %I, blanks
 * before %f digits of a fraction of a second        %z Z, +HH, +HHMM, +HH:MM              %Z UTC, GMT or Z %s seconds
 * since 1970                      %F = %Y-%m-%d   %T = %H:%M:%S   %R = %H:%M   %D = %m/%d/%y   %% itself
 */
MUST_CHECK enum status time_form_read(const char *text, struct time_column *column, struct error *error);

/* Whether the texts say a zone themselves: epochs, and patterns with %z, %Z or %s. */
bool time_form_has_zone(const struct time_column *column);
