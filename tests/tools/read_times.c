/*
 * For tests that hold our reading of times against the server's: reads lines `TYPE<tab>FORM<tab>ZONE<tab>TEXT` (ZONE:
 * seconds east, or nothing), writes for each the value as the server would show it in UTC, or nothing where it is not
 * read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/timeform.h"

int main(void)
{
    char line[512];

    while (fgets(line, sizeof line, stdin) != NULL) {
        struct time_column column = {.precision = -1};
        char *rest = line, *type = strsep(&rest, "\t"), *form = strsep(&rest, "\t"), *zone = strsep(&rest, "\t");
        char text[TIME_TEXT_MAX] = "";
        struct error error;
        int64_t value;

        error_reset(&error);
        if (rest == NULL || !time_type_from_name(type, &column.type) ||
            time_form_read(form, &column, &error) != STATUS_OK) {
            fprintf(stderr, "cannot read the line: %s\n", error.text);
            return EXIT_FAILURE;
        }
        column.zone_given = zone[0] != '\0';
        column.zone_seconds = (int32_t)strtol(zone, NULL, 10);
        if (time_parse(&column, rest, strcspn(rest, "\n"), &value) == TIME_FINE)
            time_format(column.type, value, text);
        puts(text);
    }
    return EXIT_SUCCESS;
}
