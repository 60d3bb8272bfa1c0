/*
 * PostgreSQL's own programs: found, and run without a shell. A password goes to them in their environment, which only
 * the user and root can read; never as an argument.
 */
#pragma once

#include "engine/pg/pg.h"

#define SCHEMA_TOOL_PATH_MAX 4096

struct schema_tool {
    char path[SCHEMA_TOOL_PATH_MAX];
    int major; /* 17 */
};

/*
 * Finds a pg_dump that can read servers up to major version `wanted`, or at least up to `least`: in `folder`, else in
 * PATH, else in Debian's folders. STATUS_USAGE says which ones were found.
 */
MUST_CHECK enum status schema_tool_find(const char *folder, int least, int wanted, struct schema_tool *tool,
                                        struct stop *stop, struct error *error);

/*
 * Runs it on the server; `arguments` are ended by NULL. Its output is added to *output. An exit status other than 0 is
 * STATUS_SERVER with its last words.
 */
MUST_CHECK enum status schema_tool_run(const struct schema_tool *tool, const struct pg_address *address,
                                       const char *const *arguments, struct sql *output, struct stop *stop,
                                       struct error *error);
