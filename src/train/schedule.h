/*
 * schedule.h: the learning rate of each step.
 *
 * Warm-up  lr · min(1, (t + 1) / warmup), t counting from 0: the first step already moves, step warmup - 1 has all of lr.
 * After    over the steps that are left, p = (t - warmup) / max(1, total - warmup): constant 1; linear 1 - p;
 *          cosine (1 + cos πp) / 2. The shapes are those of transformers' get_*_schedule_with_warmup.
 */
#ifndef NOOK_TRAIN_SCHEDULE_H
#define NOOK_TRAIN_SCHEDULE_H

#include "core/status.h"

typedef enum nk_schedule_kind {
  NK_SCHEDULE_CONSTANT,
  NK_SCHEDULE_LINEAR,
  NK_SCHEDULE_COSINE,
  NK_SCHEDULE_COUNT
} nk_schedule_kind;

#define NK_SCHEDULE_CHOICES "constant|linear|cosine"

typedef struct nk_schedule {
  nk_schedule_kind kind;
  double lr;
  uint64_t warmup; /* steps; 0: none */
  uint64_t total;  /* steps of the whole training; of the constant one not looked at */
} nk_schedule;

/* The rate of step t, counted from 0; 0 from step `total` on when it falls. */
double nk_schedule_rate(const nk_schedule *schedule, uint64_t t);

#endif
