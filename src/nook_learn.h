/*
 * nook_learn.h: the public interface of adapters and of training; nook.h has its conventions and everything else.
 */
#ifndef NOOK_LEARN_H
#define NOOK_LEARN_H

#include "nook.h"

/* ---- Adapters ------------------------------------------------------------------------------------------------------ */

/* Adapters that the context holds, each by a number above 0, until they are removed or the model is unloaded. */

/* Reads one: format "peft" (a = adapter_config.json, b = adapter_model.safetensors) or "gguf" (a; b empty).
   ADAPTER_MISMATCH when its card names another model than this one, or its sizes are another's. */
NOOK_API nk_status nook_adapter_read(nook_context *context, const char *format, const uint8_t *a, uint32_t n_a,
                                     const uint8_t *b, uint32_t n_b, uint32_t *id);
/* The files again; they belong to the context until the next call of this function. b is empty for "gguf". */
NOOK_API nk_status nook_adapter_write(nook_context *context, uint32_t id, const char *format, const uint8_t **a,
                                      uint32_t *n_a, const uint8_t **b, uint32_t *n_b);
/* Replaces the card (a JSON object) of an adapter; base_sha256 and method are filled in here. */
NOOK_API nk_status nook_adapter_card(nook_context *context, uint32_t id, const char *card);
NOOK_API nk_status nook_adapter_remove(nook_context *context, uint32_t id);
/* As the result: {"adapters": [{id, method, parameters, rank, alpha, slots: [names], layers: [numbers], virtual, key,
   card}], "base_sha256"}. */
NOOK_API nk_status nook_adapters(nook_context *context);
/* Applies these from the next evaluation or generation on; none: the model alone. What was read with others is
   forgotten. */
NOOK_API nk_status nook_adapters_apply(nook_context *context, const uint32_t *ids, const float *scales, uint32_t n);

/* ---- Training ------------------------------------------------------------------------------------------------------ */

/* A training lives beside other operations: between its steps the context may generate, evaluate and tokenize. Options:
   src/train/options.h. Then examples, perhaps an adapter to begin with (before them), the start, perhaps a checkpoint. */
NOOK_API nk_status nook_train_begin(nook_context *context, const char *options);
NOOK_API nk_status nook_train_from(nook_context *context, uint32_t adapter);
/* labels [n]: the token that is wanted at each place, -100: not scored. held_out: only measured. */
NOOK_API nk_status nook_train_example(nook_context *context, const int32_t *ids, const int32_t *labels, uint32_t n,
                                      uint32_t held_out);
/* What it will take, as the result: {"bytes", "parameters", "steps", "row", "kept", "layers", "examples": {given, cut,
   unscored, tokens, scored, longest}, "held_out": {the same}}. */
NOOK_API nk_status nook_train_plan(nook_context *context);
NOOK_API nk_status nook_train_start(nook_context *context);
/* Right after the start. *other_kernels: 1 where the checkpoint was made by kernels whose last bits may differ. */
NOOK_API nk_status nook_train_resume(nook_context *context, const uint8_t *checkpoint, uint32_t n, uint32_t *other_kernels);

typedef enum nook_train_event_type {
  NOOK_TRAIN_WORK = 0,
  NOOK_TRAIN_STEP = 1, /* an update: loss before it, norm of the gradient before clipping, rate */
  NOOK_TRAIN_EVAL = 2, /* the held-out examples were measured: loss */
  NOOK_TRAIN_DONE = 3, /* see end */
} nook_train_event_type;

typedef struct nook_train_event {
  uint32_t type;
  uint32_t end; /* with DONE: 1 the budget is used, 2 no better any more (patience), 3 the loss was not finite */
  double loss, norm, rate;
  double share;               /* of the update or measurement under way */
  uint64_t step, total;       /* updates made; of all, 0 where minutes decide */
  uint64_t epoch, tokens;     /* epochs begun; tokens learned from, in all */
  double best;                /* held-out loss; 0 while there is none */
  uint64_t best_step;
} nook_train_event;

/* seconds: since the last step, of the host's clock. After a failure the training is still there: its last whole update can
   be kept by a checkpoint. */
NOOK_API nk_status nook_train_step(nook_context *context, double seconds, nook_train_event *event);
/* The state after the last whole update: bytes that belong to the context until the next call of this function. */
NOOK_API nk_status nook_train_checkpoint(nook_context *context, const uint8_t **bytes, uint32_t *n);
/* The adapter after the last whole update (once done: the best one, with patience), as one of the context's. */
NOOK_API nk_status nook_train_adapter(nook_context *context, uint32_t *id);
NOOK_API void nook_train_end(nook_context *context);

#endif
