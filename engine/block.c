/* The pool of blocks. */
#include "engine/block.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/stats.h"

struct pool {
    char *memory;         /* all data, one mapping: touched only as blocks come into use */
    struct block *blocks; /* all headers */
    struct stop *stop;
    int64_t count;
    uint32_t block_size;
    int reserve;
    pthread_mutex_t mutex; /* guards the fields below */
    pthread_cond_t cond;   /* a block came home, or a claim may have changed */
    struct block *free;
    int64_t free_count;
    int waiting;
    _Atomic int64_t *used; /* may be NULL */
};

enum status pool_create(int64_t bytes, uint32_t block_size, int reserve, struct stop *stop, struct pool **result,
                        struct error *error)
{
    struct pool *pool = calloc(1, sizeof *pool);
    int64_t count = bytes / block_size;

    if (count < 8)
        count = 8;
    if (pool != NULL)
        pool->blocks = calloc((size_t)count, sizeof *pool->blocks);
    if (pool == NULL || pool->blocks == NULL) {
        free(pool);
        return error_set(error, STATUS_SYSTEM, "out of memory");
    }
    pool->memory = mmap(NULL, (size_t)count * block_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool->memory == MAP_FAILED) {
        free(pool->blocks);
        free(pool);
        return error_set_errno(error, STATUS_SYSTEM, "cannot get %lld bytes of memory for blocks (--memory)",
                               (long long)count * block_size);
    }
    pool->count = pool->free_count = count;
    pool->block_size = block_size;
    pool->reserve = reserve < count / 2 ? reserve : (int)(count / 2);
    for (int64_t i = count - 1; i >= 0; i--) {
        pool->blocks[i].data = pool->memory + i * block_size;
        pool->blocks[i].next = pool->free;
        pool->free = &pool->blocks[i];
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->cond, NULL);
    pool->stop = stop;
    stop_watch(stop, &pool->mutex, &pool->cond);
    *result = pool;
    return STATUS_OK;
}

void pool_watch(struct pool *pool, _Atomic int64_t *used)
{
    pool->used = used;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->free_count == pool->count);
    stop_unwatch(pool->stop, &pool->cond);
    munmap(pool->memory, (size_t)pool->count * pool->block_size);
    pthread_cond_destroy(&pool->cond);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->blocks);
    free(pool);
}

uint32_t pool_block_size(const struct pool *pool)
{
    return pool->block_size;
}

int64_t pool_block_count(const struct pool *pool)
{
    return pool->count;
}

int64_t pool_free_count(struct pool *pool)
{
    int64_t count;

    pthread_mutex_lock(&pool->mutex);
    count = pool->free_count;
    pthread_mutex_unlock(&pool->mutex);
    return count;
}

/* With the lock held and a block free. */
static struct block *pool_pop(struct pool *pool)
{
    struct block *block = pool->free;

    pool->free = block->next;
    pool->free_count--;
    if (pool->used != NULL)
        *pool->used = pool->count - pool->free_count;
    block->next = NULL;
    block->used = 0;
    block->mark_count = 0;
    block->form = BLOCK_RAW;
    return block;
}

static bool pool_may_take(const struct pool *pool, enum claim claim)
{
    return pool->free_count > (claim == CLAIM_ACTIVE ? 0 : pool->reserve);
}

struct block *pool_take(struct pool *pool, enum claim (*claim)(void *context), void *context, int64_t *waited_ns)
{
    struct block *block = NULL;
    int64_t since = 0;
    enum claim now;

    pthread_mutex_lock(&pool->mutex);
    while ((now = claim(context)) != CLAIM_GIVE_UP && !pool_may_take(pool, now)) {
        if (since == 0)
            since = stats_now_ns();
        pool->waiting++;
        pthread_cond_wait(&pool->cond, &pool->mutex);
        pool->waiting--;
    }
    if (now != CLAIM_GIVE_UP)
        block = pool_pop(pool);
    pthread_mutex_unlock(&pool->mutex);
    if (since != 0)
        *waited_ns += stats_now_ns() - since;
    return block;
}

struct block *pool_try(struct pool *pool)
{
    struct block *block = NULL;

    pthread_mutex_lock(&pool->mutex);
    if (pool_may_take(pool, CLAIM_AHEAD))
        block = pool_pop(pool);
    pthread_mutex_unlock(&pool->mutex);
    return block;
}

void pool_give(struct pool *pool, struct block *block)
{
    pthread_mutex_lock(&pool->mutex);
    assert(block >= pool->blocks && block < pool->blocks + pool->count);
    block->next = pool->free;
    pool->free = block;
    pool->free_count++;
    if (pool->used != NULL)
        *pool->used = pool->count - pool->free_count;
    /* All are woken: who may take the block depends on each one's claim. */
    if (pool->waiting > 0)
        pthread_cond_broadcast(&pool->cond);
    pthread_mutex_unlock(&pool->mutex);
}

void pool_wake(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->cond);
    pthread_mutex_unlock(&pool->mutex);
}

struct block_mark *block_mark(const struct block *block, uint32_t block_size, uint32_t i)
{
    assert(block->form == BLOCK_RAW);
    return (struct block_mark *)(void *)(block->data + block_size) - 1 - i;
}
