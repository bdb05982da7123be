/*
 * options.h: what a caller may ask of a training, read from JSON.
 *
 * Adapter   method "lora" (default), "prompt", "prefix", "ia3"; of LoRA rank, alpha, dropout, rslora; of LoRA and IA3
 *           targets ("all", a name or a list of names: q k v o gate up down, or PEFT's module names) and layers (a list,
 *           from 0); of prompt and prefix tokens (virtual ones); of prompt init_ids (token ids whose embeddings it begins
 *           with). Left out: PEFT's defaults (adapter.h). An option of another method is refused by name.
 * Budget    One of epochs (default 3), steps, minutes.
 * Steps     batch_size (4) examples together, accumulate (1) batches a step; lr, weight_decay by the method, clip (1; 0:
 *           off), schedule "cosine" (default), "linear", "constant" (default and only one with minutes), warmup_steps
 *           (default: a tenth of the steps, 10 at most), seed (0), shuffle (true).
 * Measuring held_out (a share below 1, or a count; 0), held_out_from "random" or "end", eval_every (steps; 0: each epoch),
 *           patience (measurements without a better one before it stops; 0: never).
 * Memory    memory_limit (bytes of the training's own; 0: none).
 * Errors    DATA with one sentence; nothing is left allocated.
 */
#ifndef NOOK_TRAIN_OPTIONS_H
#define NOOK_TRAIN_OPTIONS_H

#include "adapt/adapter.h"
#include "train/adamw.h"
#include "train/schedule.h"

#define NK_TRAIN_MAX_EPOCHS 10000u
#define NK_TRAIN_MAX_STEPS 10000000u
#define NK_TRAIN_MAX_BATCH 1024u /* and accumulated batches */
#define NK_TRAIN_WARMUP_DEFAULT UINT32_MAX

typedef enum nk_train_budget { NK_BUDGET_EPOCHS, NK_BUDGET_STEPS, NK_BUDGET_MINUTES } nk_train_budget;

typedef struct nk_train_options {
  nk_adapter_config adapter; /* its layers belong to these options; its slots see nk_train_options_slots */
  bool all_targets;
  uint8_t *layers;   /* [n_layers], or NULL */
  int32_t *init_ids; /* [n_init_ids], or NULL; not checked against a vocabulary */
  uint32_t n_init_ids;
  nk_train_budget budget;
  uint32_t epochs, steps; /* of that budget */
  double minutes;
  uint32_t batch_size, accumulate;
  nk_adamw_options adamw;
  double lr, clip;
  nk_schedule_kind schedule;
  uint32_t warmup_steps; /* or NK_TRAIN_WARMUP_DEFAULT */
  uint32_t eval_every, patience;
  double held_out;
  bool held_out_random;
  uint64_t seed, memory_limit;
  bool shuffle;
} nk_train_options;

/* n_layers: of the model. The owner calls nk_train_options_free after success. */
nk_status nk_train_options_read(nk_train_options *options, const char *text, uint32_t n_layers, nk_error *error);
void nk_train_options_free(nk_train_options *options);

/* The slots for the adapter's configuration: "all" is those that some layer of the model has. */
uint32_t nk_train_options_slots(const nk_train_options *options, const nk_model *model);
/* How many of n examples are held out: a share is rounded, but is at least one. May be n or more, which
   nk_examples_split refuses. */
uint32_t nk_train_options_held_out(const nk_train_options *options, uint32_t n);
/* Updates of an epoch of n examples: the last one may have fewer batches, and the last batch fewer examples. */
uint64_t nk_train_options_epoch_steps(const nk_train_options *options, uint32_t n);
/* Updates of the whole training on n examples; 0 where minutes decide. */
uint64_t nk_train_options_total(const nk_train_options *options, uint32_t n);
/* The schedule over so many updates (0: not known beforehand). */
nk_schedule nk_train_options_schedule(const nk_train_options *options, uint64_t total);

#endif
