/*
 * trainer.h: a person's examples become an adapter, one bounded step at a time.
 *
 * Use       create → add examples → start (or resume) → step … until NK_TRAIN_DONE → take the adapter → free. Between steps
 *           the host may do anything: stop, ask for a checkpoint, wait.
 * Update    A window of accumulate batches, fewer at the end of an epoch; the loss is one mean over all labels of the
 *           window, however its examples are packed into rows. The gradient is clipped, AdamW moves the adapter's values.
 * Measured  The held-out loss before the first update, as often as the options say, and at the end. With patience the best
 *           values are kept and given back, and it stops when they have not become better for so long.
 * Diverged  A loss or gradient that is not finite ends it; the values are those of the last update whose loss was finite.
 * Resume    A checkpoint between two updates holds everything: going on gives the same bits as if nothing had happened,
 *           with the same kernels.
 * Memory    Everything is allocated by start; a step allocates nothing. The examples belong to the trainer.
 */
#ifndef NOOK_TRAIN_TRAINER_H
#define NOOK_TRAIN_TRAINER_H

#include "run/gradient.h"
#include "train/checkpoint.h"
#include "train/examples.h"
#include "train/options.h"

typedef struct nk_trainer nk_trainer;

typedef enum nk_train_event_type {
  NK_TRAIN_WORK = 0, /* a piece of an update or of a measurement was done */
  NK_TRAIN_STEP = 1, /* an update was made: step, loss before it, norm, rate */
  NK_TRAIN_EVAL = 2, /* the held-out examples were measured after `step` updates: loss */
  NK_TRAIN_DONE = 3, /* see nk_trainer_end_reason */
} nk_train_event_type;

typedef enum nk_train_end {
  NK_TRAIN_RUNNING,
  NK_TRAIN_BUDGET,   /* all epochs, steps or minutes were used */
  NK_TRAIN_PATIENCE, /* the held-out loss did not become better any more */
  NK_TRAIN_DIVERGED, /* the loss was not finite */
} nk_train_end;

typedef struct nk_train_event {
  nk_train_event_type type;
  uint64_t step, total;   /* updates made; of all, 0 where minutes decide */
  double loss;            /* of STEP and EVAL */
  double norm, rate;      /* of STEP: of the gradient before clipping; the learning rate */
  double share;           /* of the update or measurement under way, 0 to 1 */
  uint64_t epoch, tokens; /* epochs begun, from 1; tokens that passed through the model while learning, in all */
} nk_train_event;

/* What a training on such examples takes, before anything is allocated. */
typedef struct nk_train_plan {
  uint64_t bytes;      /* of its own: buffers, records, gradients, moments */
  uint64_t parameters; /* numbers of the adapter */
  uint64_t steps;      /* updates; 0 where minutes decide */
  uint32_t row;        /* entries of a row */
  uint32_t kept;       /* layers that need not run forward a second time */
  uint32_t n_layers;
} nk_train_plan;

/* options: JSON, see options.h. float_activations: the exact path. */
nk_status nk_trainer_create(nk_trainer **out, const nk_model *model, const nk_machine *machine, const char *options,
                            uint32_t context, bool float_activations, nk_error *error);
void nk_trainer_free(nk_trainer *trainer); /* NULL is fine */

/* Before start. held_out: only measured. The adapter that a training begins with, instead of fresh values: it brings its
   shape with it, and is copied. */
nk_status nk_trainer_add(nk_trainer *trainer, const int32_t *ids, const int32_t *labels, uint32_t n, bool held_out,
                         nk_error *error);
nk_status nk_trainer_begin_with(nk_trainer *trainer, const nk_adapter *adapter, nk_error *error);
const nk_example_counts *nk_trainer_counts(const nk_trainer *trainer, bool held_out);
/* DATA when nothing can be learned from. */
nk_status nk_trainer_plan(nk_trainer *trainer, nk_train_plan *plan, nk_error *error);
nk_status nk_trainer_start(nk_trainer *trainer, const uint8_t model_hash[32], nk_error *error);
/* After start, before the first step. *other_kernels: the checkpoint was made by other ones, whose last bits may differ. */
nk_status nk_trainer_resume(nk_trainer *trainer, const uint8_t *checkpoint, uint64_t n, bool *other_kernels,
                            nk_error *error);

/* seconds: that have passed since the last call, as the host measured them: for budgets in minutes. */
nk_status nk_trainer_step(nk_trainer *trainer, double seconds, nk_train_event *event, nk_error *error);
nk_train_end nk_trainer_end_reason(const nk_trainer *trainer);
/* The best held-out loss so far and after how many updates it was; false without a measurement. */
bool nk_trainer_best(const nk_trainer *trainer, double *loss, uint64_t *step);

/* The state after the last whole update: bytes owned by the trainer until the next call of this function. */
nk_status nk_trainer_checkpoint(nk_trainer *trainer, const uint8_t **bytes, uint64_t *n, nk_error *error);
/* The adapter as it is after the last whole update (once done: the best, where there is patience). It stays the trainer's
   until taken; then the trainer can only be freed. */
const nk_adapter *nk_trainer_adapter(const nk_trainer *trainer);
nk_adapter *nk_trainer_take(nk_trainer *trainer);
/* Of the examples that are learned from. */
void nk_trainer_data_hash(const nk_trainer *trainer, uint8_t digest[32]);

#endif
