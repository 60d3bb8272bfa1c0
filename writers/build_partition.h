/*
 * Between the files of the way `partition`: build_partition.c (the way itself), build_partition_find.c (which partition
 * a cell is, and whether it can be built), build_partition_copy.c (all that hangs on it, made again on another table).
 */
#pragma once

#include "writers/build_private.h"

struct partition {
    bool found;
    uint32_t oid;
    char *sql; /* quoted and qualified */
    int64_t bytes;
    char *refusal; /* why it cannot be built; NULL: it can */
};

/* The partition that is exactly the cell. */
MUST_CHECK enum status partition_find(struct pg *pg, const struct table *table, struct range cell,
                                      struct partition *partition, struct error *error);
void partition_reset(struct partition *partition);

/* The statements by which one table takes the place of a partition; each is several, as one text. */
struct partition_copy {
    char *create;   /* the table, as the partition is, without indexes, and it takes rows of the partition only */
    char *complete; /* once it has its rows: indexes, constraints, and all else that the partition has */
    char *exchange; /* under locks: rows that the partition has got meanwhile, names, the place itself */
    char *portrait; /* of the partition: all that the server keeps on it, as a text */
};

/* `name`: the table's, unquoted; it is to be in the partition's schema. */
MUST_CHECK enum status partition_copy(struct pg *pg, const struct table *table, struct range cell,
                                      const struct partition *partition, const char *name, struct partition_copy *copy,
                                      struct error *error);
void partition_copy_reset(struct partition_copy *copy);

/* `regclass` is an expression. NULL: there is no such table. */
MUST_CHECK enum status partition_portrait(struct pg *pg, const char *regclass, char **portrait, struct error *error);
