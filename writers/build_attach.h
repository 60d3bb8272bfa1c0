/* Between the files of the way `attach`: build_attach.c (what is done when), build_attach_table.c (the table). */
#pragma once

#include "writers/build_private.h"

/* All in a transaction, with build->relation as the table. Makes it, without any index. */
MUST_CHECK enum status attach_make_table(struct append_session *session, const struct build *build,
                                         struct error *error);

/* Makes those of the hypertable's indexes, and constraints with one, that it has not. */
MUST_CHECK enum status attach_make_indexes(struct append_session *session, const struct build *build, bool unique_only,
                                           struct error *error);

/* Takes away what only loading needed. */
MUST_CHECK enum status attach_drop_defaults(struct append_session *session, const struct build *build,
                                            struct error *error);
