/* Between rowhash.c, where servers hash, and rowhash_stream.c, where we do. */
#pragma once

#include "engine/method/rowhash.h"

/* rowhash_take on connections that are open. */
MUST_CHECK enum status rowhash_take_streamed(struct rowhash_pair *pair, const struct rowhash_parts *parts,
                                             struct rowhash hashes[2][ROWHASH_PARTS_MAX], struct error *error);
