/* Stepping over SQL as pg_dump writes it, without mistaking what is inside of a literal for a statement. */
#pragma once

/* Behind the token that begins here: a word, a literal, a quoted name, a comment, or one letter. */
const char *schema_skip_token(const char *at);

/* Behind the line that begins here: it ends where no token goes on. */
const char *schema_skip_line(const char *at);
