/* `hyperfill completion-point`: not built yet. */
#include "engine/cli/commands.h"

enum status command_completion_point(const struct options *options, struct error *error)
{
    (void)options;
    return error_set(error, STATUS_USAGE, "not built yet");
}
