/*
 * checkpoint.h: everything that a training needs to go on as if it had never stopped, as bytes and back.
 *
 * Format  "NOOKTRNG", version u32, 0 u32; then these sections in this order, each a tag of four letters, 0 u32, its length
 *         u64, its bytes, and zeros up to a multiple of 8; last the SHA-256 of all before it. Little-endian.
 *           KERN  name of the kernel variant      MODL DATA HELD  SHA-256 of model file, examples, held-out examples
 *           OPTS  the training's options, JSON    PROG  nk_train_progress, each field 8 bytes
 *           VALS MOM1 MOM2  the adapter's values and both moments, float32 [n]
 *           BEST  the values of the best held-out loss, float32 [n], or nothing
 *           LOSS EVAL  nk_loss_record [], each field 8 bytes: of the steps, and of the measurements on the held-out part
 * Bits    No random state is in it: what is random depends on seed, epoch and step (order.h).
 * Hostile The hash is checked first, every length before it is used; the reader allocates nothing, what it gives points
 *         into the bytes. NaN, infinity and negative second moments are refused, in writing too.
 */
#ifndef NOOK_TRAIN_CHECKPOINT_H
#define NOOK_TRAIN_CHECKPOINT_H

#include "core/status.h"

#define NK_CHECKPOINT_VERSION 1u
#define NK_CHECKPOINT_VARIANT_BYTES 32u /* its name, with the NUL */
#define NK_CHECKPOINT_MAX_OPTIONS (1u << 20)
#define NK_CHECKPOINT_MAX_VALUES (1ull << 30)
#define NK_CHECKPOINT_MAX_RECORDS (1ull << 24)

/* Where the training stands: after `step` updates, before the next. Fields of 8 bytes, in the file in this order. */
typedef struct nk_train_progress {
  uint64_t step;       /* updates made */
  uint64_t epoch;      /* of the next example, from 0 */
  uint64_t position;   /* examples of that epoch that have been learned from */
  uint64_t examples;   /* learned from, each as often as it came */
  uint64_t tokens;     /* passed through the model while learning */
  uint64_t worse;      /* measurements since the best one */
  uint64_t best_step;  /* updates made when the held-out loss was best */
  double best_loss;    /* 0 while there is no best */
  double seconds;      /* spent so far, for budgets and remaining time; >= 0 */
} nk_train_progress;

typedef struct nk_loss_record {
  uint64_t step;
  double loss;       /* before the update of that step; of a measurement after `step` updates */
  double norm, rate; /* of the gradient before clipping, and the learning rate; 0 of a measurement */
} nk_loss_record;

typedef struct nk_checkpoint {
  const char *variant; /* NUL-terminated, printable ASCII */
  const char *options; /* NUL-terminated */
  uint8_t model[32], data[32], held_out[32]; /* held_out: zeros without a held-out part */
  nk_train_progress progress;
  uint64_t n_values, n_losses, n_evals;
  const void *values, *m, *v; /* float [n_values]; of one that was read unaligned bytes: memcpy them */
  const void *best;           /* float [n_values], or NULL */
  const void *losses, *evals; /* nk_loss_record [n_losses], [n_evals]; the same */
} nk_checkpoint;

/* The size of its file; 0 when a limit above is passed. */
uint64_t nk_checkpoint_bytes(const nk_checkpoint *checkpoint);
/* Writes it into out [size], size = nk_checkpoint_bytes. FORMAT when the reader would refuse it; nothing usable is then in
   out. */
nk_status nk_checkpoint_write(const nk_checkpoint *checkpoint, uint8_t *out, uint64_t size, nk_error *error);

/* Reads bytes [n], which the checkpoint points into afterwards. FORMAT with a sentence that says what is wrong; UNSUPPORTED
   for another version. */
nk_status nk_checkpoint_read(nk_checkpoint *checkpoint, const uint8_t *bytes, uint64_t n, nk_error *error);

/* What a checkpoint must fit to go on here. */
typedef struct nk_checkpoint_here {
  const char *variant;
  uint8_t model[32], data[32], held_out[32];
  uint64_t n_values;   /* of the adapter that its options make */
  uint32_t n_examples; /* of an epoch */
} nk_checkpoint_here;

/* ADAPTER_MISMATCH for another model, DATA for other examples (both hashes are named), FORMAT for sizes and positions that
   are not those here. *other_variant: it was made by other kernels, whose last bits may differ; that is allowed. */
nk_status nk_checkpoint_match(const nk_checkpoint *checkpoint, const nk_checkpoint_here *here, bool *other_variant,
                              nk_error *error);

#endif
