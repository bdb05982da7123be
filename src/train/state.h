/* state.h: the inside of a trainer, shared by trainer.c and trainer_state.c. */
#ifndef NOOK_TRAIN_STATE_H
#define NOOK_TRAIN_STATE_H

#include "train/pack.h"
#include "train/trainer.h"

/* What the next step does. */
typedef enum nk_train_task {
  NK_TASK_WINDOW,    /* begin an update */
  NK_TASK_LEARN,     /* go on with it */
  NK_TASK_MEASURE,   /* begin a measurement */
  NK_TASK_MEASURING, /* go on with it */
  NK_TASK_DONE,
} nk_train_task;

struct nk_trainer {
  const nk_model *model;
  const nk_machine *machine;
  nk_train_options options;
  char *options_text; /* as it was given */
  uint32_t context;
  bool float_activations;

  nk_examples examples, held; /* held: given apart; else n_held of the former */
  nk_adapter *adapter;
  nk_gradient *gradient; /* NULL until start */
  float *grads;          /* [n_grads], the gradient's */
  uint64_t n_grads;

  nk_arena memory;
  float *m, *v;         /* [n_values] AdamW's moments */
  float *good;          /* [n_values] before the last update */
  float *best;          /* [n_values] of the best held-out loss */
  uint32_t *items;      /* [examples.n] those to learn from [n_items], then the held-out ones */
  uint32_t *order;      /* [n_items] of the epoch order_epoch - 1; 0: of none */
  uint32_t *all_held;   /* [held.n] 0, 1, … */
  nk_pack pack;
  uint32_t n_items, n_held;
  uint64_t order_epoch;

  nk_schedule schedule;
  uint64_t total; /* updates; 0: minutes decide */
  nk_train_progress progress;
  bool has_best, last; /* last: the measurement under way is the last thing */
  nk_train_end end;
  nk_loss_record *losses, *evals; /* [n_losses], [n_evals]; malloc'd */
  uint64_t n_losses, losses_room, n_evals, evals_room;

  nk_train_task task;
  uint32_t window, window_done, batch; /* examples of what is under way, of them done, of the batch */
  uint32_t row;                        /* of the pack */
  bool in_row;
  uint64_t rows_done; /* of the window */
  uint64_t scored, measured, window_tokens;
  double loss; /* sum so far */

  uint8_t model_hash[32];
  uint8_t *checkpoint; /* malloc'd */
};

/* After progress, losses and values came from a checkpoint: what the next step does. */
void nk_trainer_go_on(nk_trainer *trainer);
/* Tokens of an example at most. */
uint32_t nk_trainer_room(const nk_trainer *trainer);

#endif
