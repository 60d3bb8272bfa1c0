/* Addresses of servers, and how they are shown without their secrets. */
#include "engine/pg/private.h"

#include <stdlib.h>
#include <string.h>

static const char *const schemes[] = {"postgresql://", "postgres://"};

/* The size of the URI's scheme, 0 if it is none of ours. */
static size_t scheme_size(const char *text)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return strlen(schemes[i]);
    return 0;
}

/*
 * A password with a bare @ or / in it makes libpq take a part of it for the host or the database, which are shown. So a
 * URI may have no @ behind the one that ends user and password, except in its query.
 */
static bool is_ambiguous(const char *text)
{
    const char *rest = text + scheme_size(text);
    const char *end = strpbrk(rest, "@/");

    if (scheme_size(text) == 0 || end == NULL)
        return false;
    end++;
    return memchr(end, '@', strcspn(end, "?")) != NULL;
}

/* libpq looks at these only when it connects; there a typing error would pass for a server that is away. */
static bool numbers_are_valid(const PQconninfoOption *options)
{
    static const char *const numbers[] = {"port",
                                          "connect_timeout",
                                          "keepalives",
                                          "keepalives_idle",
                                          "keepalives_interval",
                                          "keepalives_count",
                                          "tcp_user_timeout"};

    for (; options->keyword != NULL; options++)
        for (size_t i = 0; options->val != NULL && i < sizeof numbers / sizeof numbers[0]; i++)
            if (strcmp(options->keyword, numbers[i]) == 0 &&
                options->val[strspn(options->val, "-0123456789, ")] != '\0')
                return false;
    return true;
}

/* NULL for what is not accepted; to be freed by PQconninfoFree. */
static PQconninfoOption *parse(const char *text)
{
    PQconninfoOption *options = is_ambiguous(text) ? NULL : PQconninfoParse(text, NULL);

    if (options != NULL && !numbers_are_valid(options)) {
        PQconninfoFree(options);
        return NULL;
    }
    return options;
}

bool pg_is_conninfo(const char *text)
{
    PQconninfoOption *options;

    if (scheme_size(text) > 0)
        return true;
    if (strchr(text, '=') == NULL)
        return false;
    options = PQconninfoParse(text, NULL);
    PQconninfoFree(options);
    return options != NULL;
}

/* A database name may itself be an address to libpq, with a password in it. */
static bool is_showable(const PQconninfoOption *option)
{
    static const char *const shown[] = {"service", "host", "hostaddr", "port", "dbname", "user"};

    if (option->val == NULL || option->val[0] == '\0')
        return false;
    if (strcmp(option->keyword, "dbname") == 0 && (scheme_size(option->val) > 0 || strchr(option->val, '=') != NULL))
        return false;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        if (strcmp(option->keyword, shown[i]) == 0)
            return true;
    return false;
}

static char *display_of(const PQconninfoOption *options)
{
    struct sql text = {0};

    for (; options->keyword != NULL; options++)
        if (is_showable(options))
            sql_add(&text, "%s%s=%s", text.size == 0 ? "" : " ", options->keyword, options->val);
    return text.size == 0 ? pg_text("the default server") : text.text;
}

enum status pg_address_init(struct pg_address *address, const char *conninfo, const char *role, struct error *error)
{
    PQconninfoOption *options = parse(conninfo);

    *address = (struct pg_address){.role = role};
    /* libpq's reason quotes the text, which may hold a password. */
    if (options == NULL)
        return error_set(
            error, STATUS_USAGE,
            "%s: the address cannot be read; write postgresql://user@host:port/dbname (@ / : %% inside of a"
            " name or password as %%40 %%2F %%3A %%25) or \"host=... port=... dbname=... user=...\"",
            role);
    address->conninfo = pg_text(conninfo);
    address->display = display_of(options);
    PQconninfoFree(options);
    return STATUS_OK;
}

void pg_address_reset(struct pg_address *address)
{
    if (address->conninfo != NULL)
        explicit_bzero(address->conninfo, strlen(address->conninfo));
    free(address->conninfo);
    free(address->display);
    *address = (struct pg_address){0};
}

static bool holds_secret(const PQconninfoOption *options)
{
    for (; options->keyword != NULL; options++) {
        if (options->val == NULL || options->val[0] == '\0')
            continue;
        /* "*" marks what psql would hide: password, sslpassword, and what later versions add. */
        if (options->dispchar[0] == '*')
            return true;
        if (strcmp(options->keyword, "dbname") == 0 && !is_showable(options))
            return true;
    }
    return false;
}

/* Replaces the text from `from` on, within its old length; the rest of it is NUL, which ps does not show. */
static void overwrite(char *argument, size_t from, const char *text)
{
    size_t size = strlen(argument);
    size_t kept = strlen(text) < size - from ? strlen(text) : size - from;

    explicit_bzero(argument + from, size - from);
    memcpy(argument + from, text, kept);
}

void pg_scrub_argument(char *argument)
{
    PQconninfoOption *options;
    char *display;

    if (!pg_is_conninfo(argument))
        return;
    options = parse(argument);
    if (options == NULL) {
        /* A URI with a slip in it still holds what it holds. */
        overwrite(argument, scheme_size(argument), "...");
        return;
    }
    if (holds_secret(options)) {
        display = display_of(options);
        overwrite(argument, 0, display);
        free(display);
    }
    PQconninfoFree(options);
}
