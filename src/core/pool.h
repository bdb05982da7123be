/*
 * pool.h: one loop spread over the engine's threads.
 *
 * The thread that calls nk_pool_run works too and returns when every item is done. Helper threads are brought by the host
 * (a WebAssembly instance over the same memory, or a pthread) and live in nk_pool_help until nk_pool_stop. Without any,
 * the loop runs on the caller: the base build is this file with no helpers.
 *
 * Which thread computes an item never changes its result; that is the callers' contract (each output element is written by
 * one item, in a fixed order of additions), and tests compare the bits over thread counts.
 */
#ifndef NOOK_CORE_POOL_H
#define NOOK_CORE_POOL_H

#include "core/status.h"

#define NK_POOL_MAX_THREADS 64u

typedef struct nk_pool nk_pool;

/* Works on items [begin, end). thread is in [0, threads): an index for per-thread scratch. */
typedef void (*nk_pool_task)(void *argument, uint32_t begin, uint32_t end, uint32_t thread);

/* NULL when memory is out. threads counts the caller: 1 means no helpers. */
nk_pool *nk_pool_create(uint32_t threads);
void nk_pool_free(nk_pool *pool); /* after every helper has left */
uint32_t nk_pool_threads(const nk_pool *pool);

/* Runs task over [0, n) in pieces of `grain` items, taken first come first served. */
void nk_pool_run(nk_pool *pool, uint32_t n, uint32_t grain, nk_pool_task task, void *argument);

/* A helper's life; index in [1, threads), else it returns at once. */
void nk_pool_help(nk_pool *pool, uint32_t index);
/* Sends every helper home; nk_pool_help returns. */
void nk_pool_stop(nk_pool *pool);

#endif
