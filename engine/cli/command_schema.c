/* `hyperfill schema`: not built yet. */
#include "engine/cli/commands.h"

enum status command_schema(const struct options *options, struct error *error)
{
    (void)options;
    return error_set(error, STATUS_USAGE, "not built yet");
}
