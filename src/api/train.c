/* train.c: training through the public interface; see nook.h and train/trainer.h. */
#include <string.h>

#include "api/context.h"

static nk_status training(nook_context *context) {
  if (context->trainer != NULL) return NK_STATUS_OK;
  return nk_fail(&context->error, NK_STATUS_DATA, "nothing is being trained");
}

nk_status nook_train_begin(nook_context *context, const char *options) {
  if (context->model == NULL) return nk_fail_hint(&context->error, NK_STATUS_DATA, "Load one first.", "no model is loaded");
  if (context->trainer != NULL)
    return nk_fail_hint(&context->error, NK_STATUS_BUSY, "End it first.", "a training is under way");
  return nk_trainer_create(&context->trainer, context->model, &context->machine, options, context->chosen.context,
                           context->chosen.float_activations, &context->error);
}

nk_status nook_train_from(nook_context *context, uint32_t adapter) {
  const nk_adapter *from;
  nk_status status = training(context);
  if (status == NK_STATUS_OK) status = nk_context_adapter(context, adapter, &from);
  return status == NK_STATUS_OK ? nk_trainer_begin_with(context->trainer, from, &context->error) : status;
}

nk_status nook_train_example(nook_context *context, const int32_t *ids, const int32_t *labels, uint32_t n,
                             uint32_t held_out) {
  nk_status status = training(context);
  return status == NK_STATUS_OK ? nk_trainer_add(context->trainer, ids, labels, n, held_out != 0, &context->error) : status;
}

static bool add_counts(cJSON *root, const char *key, const nk_example_counts *counts) {
  cJSON *object = cJSON_AddObjectToObject(root, key);
  return object != NULL && cJSON_AddNumberToObject(object, "given", counts->given) != NULL &&
         cJSON_AddNumberToObject(object, "cut", counts->cut) != NULL &&
         cJSON_AddNumberToObject(object, "unscored", counts->unscored) != NULL &&
         cJSON_AddNumberToObject(object, "tokens", (double)counts->tokens) != NULL &&
         cJSON_AddNumberToObject(object, "scored", (double)counts->scored) != NULL &&
         cJSON_AddNumberToObject(object, "longest", counts->longest) != NULL;
}

nk_status nook_train_plan(nook_context *context) {
  nk_train_plan plan;
  nk_status status = training(context);
  if (status == NK_STATUS_OK) status = nk_trainer_plan(context->trainer, &plan, &context->error);
  if (status != NK_STATUS_OK) return status;
  cJSON *root = cJSON_CreateObject();
  bool whole = root != NULL && cJSON_AddNumberToObject(root, "bytes", (double)plan.bytes) != NULL &&
               cJSON_AddNumberToObject(root, "parameters", (double)plan.parameters) != NULL &&
               cJSON_AddNumberToObject(root, "steps", (double)plan.steps) != NULL &&
               cJSON_AddNumberToObject(root, "row", plan.row) != NULL &&
               cJSON_AddNumberToObject(root, "kept", plan.kept) != NULL &&
               cJSON_AddNumberToObject(root, "layers", plan.n_layers) != NULL &&
               add_counts(root, "examples", nk_trainer_counts(context->trainer, false)) &&
               add_counts(root, "held_out", nk_trainer_counts(context->trainer, true));
  if (!whole) {
    cJSON_Delete(root);
    root = NULL;
  }
  return nk_context_keep(context, &context->result_text, root);
}

nk_status nook_train_start(nook_context *context) {
  nk_status status = training(context);
  if (status != NK_STATUS_OK) return status;
  uint8_t identity[32];
  nk_model_identity(context->model, identity);
  return nk_trainer_start(context->trainer, identity, &context->error);
}

nk_status nook_train_resume(nook_context *context, const uint8_t *checkpoint, uint32_t n, uint32_t *other_kernels) {
  bool others = false;
  nk_status status = training(context);
  if (status == NK_STATUS_OK) status = nk_trainer_resume(context->trainer, checkpoint, n, &others, &context->error);
  *other_kernels = others ? 1 : 0;
  return status;
}

nk_status nook_train_step(nook_context *context, double seconds, nook_train_event *event) {
  memset(event, 0, sizeof *event);
  nk_status status = training(context);
  if (status != NK_STATUS_OK) return status;
  nk_train_event got;
  status = nk_trainer_step(context->trainer, seconds, &got, &context->error);
  if (status != NK_STATUS_OK) return status;
  *event = (nook_train_event){.type = (uint32_t)got.type,
                              .end = (uint32_t)nk_trainer_end_reason(context->trainer),
                              .loss = got.loss,
                              .norm = got.norm,
                              .rate = got.rate,
                              .share = got.share,
                              .step = got.step,
                              .total = got.total,
                              .epoch = got.epoch,
                              .tokens = got.tokens};
  (void)nk_trainer_best(context->trainer, &event->best, &event->best_step);
  return NK_STATUS_OK;
}

nk_status nook_train_checkpoint(nook_context *context, const uint8_t **bytes, uint32_t *n) {
  *bytes = NULL;
  *n = 0;
  uint64_t size = 0;
  nk_status status = training(context);
  if (status == NK_STATUS_OK) status = nk_trainer_checkpoint(context->trainer, bytes, &size, &context->error);
  if (status == NK_STATUS_OK && size > UINT32_MAX)
    return nk_fail(&context->error, NK_STATUS_MEMORY, "the state of the training is too large to keep");
  *n = (uint32_t)size;
  return status;
}

nk_status nook_train_adapter(nook_context *context, uint32_t *id) {
  *id = 0;
  nk_status status = training(context);
  if (status != NK_STATUS_OK) return status;
  nk_adapter *copy = NULL;
  status = nk_adapter_copy(&copy, context->model, nk_trainer_adapter(context->trainer), &context->error);
  if (status != NK_STATUS_OK) return status;
  nk_adapter_rekey(copy);
  status = nk_context_hold(context, copy, id);
  if (status != NK_STATUS_OK) nk_adapter_free(copy);
  return status;
}

void nook_train_end(nook_context *context) {
  nk_trainer_free(context->trainer);
  context->trainer = NULL;
}
