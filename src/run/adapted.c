/* adapted.c: see adapted.h. */
#include "run/adapted.h"

#include "core/random.h"

#define CHUNK_FLOATS 1024u /* of A x on the stack; at least one row of the largest rank */
#define COLUMN_GRAIN 128u  /* columns of a gradient that a task takes */
#define TOKEN_GRAIN 16u

_Static_assert(CHUNK_FLOATS >= NK_ADAPTER_MAX_RANK, "a row of the largest rank must fit");

static const nk_adapter_slot *slot_of(const nk_adapted *at, uint32_t i) {
  const nk_adapter *adapter = at->adapters->uses[i].adapter;
  return adapter->slots == NULL ? NULL : &adapter->slots[(size_t)at->layer * NK_SLOT_COUNT + at->slot];
}

bool nk_adapted_any(const nk_adapted *at) {
  for (uint32_t i = 0; i < at->adapters->n; i++) {
    const nk_adapter_slot *slot = slot_of(at, i);
    if (slot != NULL && (slot->a != NULL || slot->ia3 != NULL)) return true;
  }
  return false;
}

/* ---- Dropout ------------------------------------------------------------------------------------------------------- */

/* row [n] = x · mask / (1 - rate) of entry `entry`; x may be row. */
static void drop(const nk_adapted *at, float *row, const float *x, uint32_t n, uint32_t entry) {
  uint64_t place = ((uint64_t)at->layer * NK_SLOT_COUNT + at->slot) << 32 | entry;
  uint64_t key = nk_random_mix(at->dropout->key + nk_random_mix(place));
  uint64_t limit = (uint64_t)((double)at->dropout->rate * 16777216.0);
  float factor = 1.0f / (1.0f - at->dropout->rate);
  for (uint32_t k = 0; k < n; k++) {
    uint64_t number = nk_random_mix(key + k * 0x9e3779b97f4a7c15u) >> 40; /* SplitMix64's k-th, 24 bits of it */
    row[k] = number >= limit ? x[k] * factor : 0.0f;
  }
}

static bool drops(const nk_adapted *at) { return at->dropout != NULL && at->dropout->rate > 0.0f; }

/* ---- LoRA ---------------------------------------------------------------------------------------------------------- */

typedef struct lora_job {
  const nk_adapted *at;
  const nk_adapter_slot *slot;
  float scale;
  float *y, *dx, *t, *dt, *da, *db, *dropped;
  const float *x, *dy;
  size_t ldx, ldy, lddx, lddy;
  uint32_t m, rows, cols;
} lora_job;

/* t [n, r] = A x' of rows [first, first + n). */
static void down_product(const lora_job *job, float *t, uint32_t first, uint32_t n) {
  const nk_vec *vec = job->at->machine->vec;
  vec->dense_nt(t, job->slot->r, job->x + first * job->ldx, job->ldx, job->slot->a, job->cols, n, job->slot->r, job->cols,
                false);
}

static void forward_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const lora_job *job = argument;
  const nk_vec *vec = job->at->machine->vec;
  uint32_t r = job->slot->r, chunk = CHUNK_FLOATS / r;
  float t[CHUNK_FLOATS]; /* [n, r] */
  for (uint32_t first = begin, n; first < end; first += n) {
    n = end - first < chunk ? end - first : chunk;
    down_product(job, t, first, n);
    vec->scale(t, job->scale, n * r);
    vec->dense_nn(job->y + first * job->ldy, job->ldy, t, r, job->slot->b, job->rows, n, r, job->rows, true);
  }
}

static void drop_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const lora_job *job = argument;
  for (uint32_t t = begin; t < end; t++)
    drop(job->at, job->dropped + (size_t)t * job->cols, job->x + t * job->ldx, job->cols, job->at->first + t);
}

/* From here on the job's x is x'. */
static void make_dropped(lora_job *job, float *room) {
  if (!drops(job->at)) return;
  job->dropped = room;
  nk_pool_run(job->at->machine->pool, job->m, TOKEN_GRAIN, drop_task, job);
  job->x = room;
  job->ldx = job->cols;
}

void nk_lora_forward(const nk_adapted *at, float *y, size_t ldy, uint32_t rows, const float *x, size_t ldx, uint32_t m,
                     uint32_t cols) {
  for (uint32_t i = 0; i < at->adapters->n; i++) {
    const nk_adapter_slot *slot = slot_of(at, i);
    if (slot == NULL || slot->a == NULL) continue;
    lora_job job = {.at = at, .slot = slot, .scale = slot->scale * at->adapters->uses[i].scale, .y = y, .ldy = ldy,
                    .x = x, .ldx = ldx, .m = m, .rows = rows, .cols = cols};
    if (drops(at)) make_dropped(&job, at->dropout->room);
    nk_pool_run(at->machine->pool, m, TOKEN_GRAIN, forward_task, &job);
  }
}

static void down_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const lora_job *job = argument;
  const nk_vec *vec = job->at->machine->vec;
  uint32_t r = job->slot->r, n = end - begin;
  down_product(job, job->t + (size_t)begin * r, begin, n);
  float *dt = job->dt + (size_t)begin * r; /* scale · dy Bᵀ */
  vec->dense_nt(dt, r, job->dy + begin * job->lddy, job->lddy, job->slot->b, job->rows, n, r, job->rows, false);
  vec->scale(dt, job->scale, n * r);
}

static void da_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const lora_job *job = argument;
  job->at->machine->vec->dense_tn(job->da + begin, job->cols, job->dt, job->slot->r, job->x + begin, job->ldx, job->m,
                                  job->slot->r, end - begin, true);
}

static void db_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const lora_job *job = argument;
  job->at->machine->vec->dense_tn(job->db + begin, job->rows, job->t, job->slot->r, job->dy + begin, job->lddy, job->m,
                                  job->slot->r, end - begin, true);
}

static void dx_task(void *argument, uint32_t begin, uint32_t end, uint32_t thread) {
  (void)thread;
  const lora_job *job = argument;
  const nk_adapted *at = job->at;
  const nk_vec *vec = at->machine->vec;
  uint32_t r = job->slot->r, n = end - begin;
  float *to = drops(at) ? job->dropped + (size_t)begin * job->cols : job->dx + begin * job->lddx;
  size_t ld = drops(at) ? job->cols : job->lddx;
  vec->dense_nn(to, ld, job->dt + (size_t)begin * r, r, job->slot->a, job->cols, n, r, job->cols, !drops(at));
  if (!drops(at)) return;
  for (uint32_t t = 0; t < n; t++) {
    float *row = to + t * ld;
    drop(at, row, row, job->cols, at->first + begin + t);
    vec->add(job->dx + (begin + t) * job->lddx, row, job->cols);
  }
}

void nk_lora_backward(const nk_adapted *at, const nk_adapted_grads *to, float *dx, size_t lddx, const float *dy,
                      size_t lddy, uint32_t rows, const float *x, size_t ldx, uint32_t m, uint32_t cols) {
  const nk_adapter *adapter = at->adapters->n == 0 ? NULL : at->adapters->uses[0].adapter;
  const nk_adapter_slot *slot = adapter == NULL ? NULL : slot_of(at, 0);
  if (slot == NULL || slot->a == NULL) return;
  nk_pool *pool = at->machine->pool;
  uint32_t r = slot->r;
  lora_job job = {.at = at, .slot = slot, .scale = slot->scale, .dx = dx, .lddx = lddx, .dy = dy, .lddy = lddy, .x = x,
                  .ldx = ldx, .m = m, .rows = rows, .cols = cols, .t = to->rank, .dt = to->rank + (size_t)m * r};
  if (drops(at)) make_dropped(&job, at->dropout->room);
  nk_pool_run(pool, m, TOKEN_GRAIN, down_task, &job);
  if (to->grads != NULL) {
    job.da = to->grads + (slot->a - adapter->values);
    job.db = to->grads + (slot->b - adapter->values);
    nk_pool_run(pool, cols, COLUMN_GRAIN, da_task, &job);
    at->machine->vec->scale(job.t, job.scale, m * r);
    nk_pool_run(pool, rows, COLUMN_GRAIN, db_task, &job);
  }
  if (dx != NULL) nk_pool_run(pool, m, TOKEN_GRAIN, dx_task, &job);
}

/* ---- IA3 ----------------------------------------------------------------------------------------------------------- */

void nk_ia3_forward(const nk_adapted *at, float *x, size_t ldx, uint32_t m, uint32_t n) {
  for (uint32_t i = 0; i < at->adapters->n; i++) {
    const nk_adapter_slot *slot = slot_of(at, i);
    if (slot == NULL || slot->ia3 == NULL) continue;
    float scale = at->adapters->uses[i].scale;
    for (uint32_t t = 0; t < m; t++) {
      float *row = x + t * ldx;
      for (uint32_t k = 0; k < n; k++) row[k] *= scale == 1.0f ? slot->ia3[k] : 1.0f + scale * (slot->ia3[k] - 1.0f);
    }
  }
}

void nk_ia3_backward(const nk_adapted *at, const nk_adapted_grads *to, float *dy, size_t lddy, const float *x, size_t ldx,
                     uint32_t m, uint32_t n) {
  const nk_adapter *adapter = at->adapters->n == 0 ? NULL : at->adapters->uses[0].adapter;
  const nk_adapter_slot *slot = adapter == NULL ? NULL : slot_of(at, 0);
  if (slot == NULL || slot->ia3 == NULL) return;
  const nk_vec *vec = at->machine->vec;
  for (uint32_t t = 0; t < m; t++) {
    if (to->grads != NULL) vec->add_product(to->grads + (slot->ia3 - adapter->values), dy + t * lddy, x + t * ldx, n);
    vec->multiply(dy + t * lddy, slot->ia3, n);
  }
}
