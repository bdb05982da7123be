/*
 * context.h: the inside of a nook_context, shared by the files of api/. Each public function is a few lines here around the
 * module that does the work.
 */
#ifndef NOOK_API_CONTEXT_H
#define NOOK_API_CONTEXT_H

#include <cJSON.h>

#include "convert/convert.h"
#include "core/json.h"
#include "generate/generate.h"
#include "generate/score.h"
#include "model/load.h"
#include "nook.h"
#include "nook_learn.h"
#include "run/session.h"
#include "train/trainer.h"

/* What is under way; everything else is `busy` meanwhile. */
typedef enum nk_operation { NK_IDLE, NK_LOADING, NK_EVALUATING, NK_CHOOSING, NK_GENERATING, NK_CONVERTING } nk_operation;

/* An adapter that the context holds. */
typedef struct nk_held {
  uint32_t id;
  nk_adapter *adapter;
} nk_held;

struct nook_context {
  nk_error error;
  char *error_text, *info_text, *result_text; /* cJSON's; see nook.h for their lives */
  nk_machine machine;
  nk_isa isa;
  nk_operation operation;

  nk_loader *loader;
  bool plan_only, planned; /* headers only; headers understood */
  bool kv_asked;           /* the cache's type was asked for */
  nk_session_options wanted; /* of the model being loaded */
  nk_session_options chosen; /* of the loaded model: resolved */
  nk_model *model;
  nk_session *session;

  nk_score *score;
  nk_generation *generation;
  nk_conversion *conversion;

  nk_held *adapters; /* [n_adapters], by ascending id */
  uint32_t n_adapters, adapters_room, last_adapter;
  uint8_t *files[2]; /* result of nook_adapter_write */
  nk_trainer *trainer;

  int32_t *ids; /* result of nook_tokenize, [ids_capacity] */
  size_t ids_capacity;
  char *text; /* result of nook_detokenize */
};

/* BUSY when anything is under way, DATA without a model. */
nk_status nk_context_ready(nook_context *context);

/* Keeps `json` (consumed) as the text of *slot; MEMORY when it cannot be printed. */
nk_status nk_context_keep(nook_context *context, char **slot, cJSON *json);

/* Takes an adapter among the context's, under a new number. */
nk_status nk_context_hold(nook_context *context, nk_adapter *adapter, uint32_t *id);
/* DATA for a number that is none of them. */
nk_status nk_context_adapter(nook_context *context, uint32_t id, const nk_adapter **adapter);
/* Lets go of all adapters and of the training. */
void nk_context_release_adapters(nook_context *context);

/* Facts of the model that `loader` has planned, as JSON text in info_text. */
nk_status nk_context_describe(nook_context *context, const nk_load_plan *plan);

#endif
