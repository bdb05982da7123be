/*
 * pool.c: see pool.h.
 *
 * A gate instead of a barrier: helpers may arrive late, or never, and nothing waits for them. `inside` counts helpers that
 * look at the job; the caller closes the gate and waits for inside == 0 before it touches the job again. Either a helper
 * that comes in sees the closed gate, or the caller sees the helper (both accesses are sequentially consistent).
 */
#include "core/pool.h"

#include <stdatomic.h>
#include <stdlib.h>

#if defined(__wasm__)
#define NK_POOL_WASM 1
#else
#define NK_POOL_WASM 0
#include <pthread.h>
#endif

/* Polls before sleeping: long enough to bridge the gap between two matrices of a layer, short enough to leave the core to
   a busy neighbour. */
#define SPIN_POLLS 4000

struct nk_pool {
  uint32_t threads;
  atomic_uint epoch;  /* changes when there is something to do; helpers sleep on it */
  atomic_uint gate;   /* 1: the job below may be worked on */
  atomic_uint inside; /* helpers between entering and leaving the job; the caller sleeps on it */
  atomic_uint next;   /* first item that nobody has taken */
  atomic_uint stop;
  uint32_t n, grain; /* the job; written only while the gate is closed and nobody is inside */
  nk_pool_task task;
  void *argument;
#if !NK_POOL_WASM
  pthread_mutex_t mutex;
  pthread_cond_t changed;
#else
  void (*sleep)(atomic_uint *word, uint32_t value); /* see sleep_on */
#endif
};

/* ---- Sleeping ---------------------------------------------------------------------------------------------------- */

#if NK_POOL_WASM && defined(__wasm_atomics__)
/* Called through a pointer in memory, so that no compiler inlines it: V8's baseline compiler (seen in 11.3, Node 20) loses
   locals of a function that holds this instruction; a helper then decrements some other word than `inside`. */
static void sleep_on(atomic_uint *word, uint32_t value) {
  (void)__builtin_wasm_memory_atomic_wait32((int *)word, (int)value, -1);
}
static void wait_while(nk_pool *pool, atomic_uint *word, uint32_t value) { pool->sleep(word, value); }
static void wake(nk_pool *pool, atomic_uint *word) {
  (void)pool;
  (void)__builtin_wasm_memory_atomic_notify((int *)word, UINT32_MAX);
}
#elif NK_POOL_WASM
/* The build without threads: no helper exists, so nothing ever waits. */
static void wait_while(nk_pool *pool, atomic_uint *word, uint32_t value) { (void)pool, (void)word, (void)value; }
static void wake(nk_pool *pool, atomic_uint *word) { (void)pool, (void)word; }
#else
static void wait_while(nk_pool *pool, atomic_uint *word, uint32_t value) {
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(word) == value) pthread_cond_wait(&pool->changed, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
}
static void wake(nk_pool *pool, atomic_uint *word) {
  (void)word;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->changed);
  pthread_mutex_unlock(&pool->mutex);
}
#endif

/* Returns once *word differs from value. */
static void wait_for_change(nk_pool *pool, atomic_uint *word, uint32_t value) {
  for (int i = 0; i < SPIN_POLLS; i++) {
    if (atomic_load(word) != value) return;
  }
  while (atomic_load(word) == value) wait_while(pool, word, value);
}

/* ---- The job ------------------------------------------------------------------------------------------------------ */

static void work(nk_pool *pool, uint32_t thread) {
  for (;;) {
    uint32_t begin = atomic_fetch_add(&pool->next, pool->grain);
    if (begin >= pool->n) return;
    uint32_t left = pool->n - begin;
    pool->task(pool->argument, begin, begin + (left < pool->grain ? left : pool->grain), thread);
  }
}

nk_pool *nk_pool_create(uint32_t threads) {
  nk_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
#if NK_POOL_WASM && defined(__wasm_atomics__)
  pool->sleep = sleep_on;
#endif
  pool->threads = threads < 1 ? 1 : threads > NK_POOL_MAX_THREADS ? NK_POOL_MAX_THREADS : threads;
#if !NK_POOL_WASM
  if (pthread_mutex_init(&pool->mutex, NULL) != 0) {
    free(pool);
    return NULL;
  }
  if (pthread_cond_init(&pool->changed, NULL) != 0) {
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
    return NULL;
  }
#endif
  return pool;
}

void nk_pool_free(nk_pool *pool) {
  if (pool == NULL) return;
#if !NK_POOL_WASM
  pthread_cond_destroy(&pool->changed);
  pthread_mutex_destroy(&pool->mutex);
#endif
  free(pool);
}

uint32_t nk_pool_threads(const nk_pool *pool) { return pool->threads; }

void nk_pool_run(nk_pool *pool, uint32_t n, uint32_t grain, nk_pool_task task, void *argument) {
  if (n == 0) return;
  if (grain == 0) grain = 1;
  if (pool->threads == 1 || n <= grain) {
    /* Same pieces as with helpers: a task may count on never seeing more than `grain` items. */
    for (uint32_t begin = 0; begin < n; begin += grain) {
      uint32_t left = n - begin;
      task(argument, begin, begin + (left < grain ? left : grain), 0);
      if (left <= grain) return;
    }
    return;
  }
  pool->n = n;
  pool->grain = grain;
  pool->task = task;
  pool->argument = argument;
  atomic_store(&pool->next, 0);
  atomic_store(&pool->gate, 1);
  atomic_fetch_add(&pool->epoch, 1);
  wake(pool, &pool->epoch);
  work(pool, 0);
  atomic_store(&pool->gate, 0);
  for (uint32_t inside; (inside = atomic_load(&pool->inside)) != 0;) wait_for_change(pool, &pool->inside, inside);
}

void nk_pool_help(nk_pool *pool, uint32_t index) {
  if (index == 0 || index >= pool->threads) return; /* it would share another's scratch, or have none */
  uint32_t seen = 0;
  for (;;) {
    wait_for_change(pool, &pool->epoch, seen);
    seen = atomic_load(&pool->epoch);
    if (atomic_load(&pool->stop) != 0) return;
    atomic_fetch_add(&pool->inside, 1);
    if (atomic_load(&pool->gate) != 0) work(pool, index);
    atomic_fetch_sub(&pool->inside, 1);
    wake(pool, &pool->inside);
  }
}

void nk_pool_stop(nk_pool *pool) {
  atomic_store(&pool->stop, 1);
  atomic_fetch_add(&pool->epoch, 1);
  wake(pool, &pool->epoch);
}
