/* score.c: logits, losses and choices through the public interface; see nook.h and generate/score.h. */
#include <string.h>

#include "api/context.h"

nk_status nook_eval_begin(nook_context *context, const int32_t *ids, uint32_t count, const char *options) {
  nk_status status = nk_context_ready(context);
  if (status != NK_STATUS_OK) return status;
  if (ids == NULL && count > 0) return nk_fail(&context->error, NK_STATUS_DATA, "the tokens are missing");
  uint32_t chunk = 0, from = 0, output = NK_SCORE_LOGITS, pooling = 0;
  bool reuse = true, normalize = true;
  const nk_json_option table[] = {
      {.key = "chunk", .kind = NK_JSON_U32, .target = &chunk, .min = 1, .max = NK_BATCH_MAX},
      {.key = "from", .kind = NK_JSON_U32, .target = &from, .min = 0, .max = NK_MAX_CONTEXT},
      {.key = "reuse", .kind = NK_JSON_BOOL, .target = &reuse},
      {.key = "output", .kind = NK_JSON_CHOICE, .target = &output, .choices = "logits|hidden|nll|vector"},
      {.key = "pooling", .kind = NK_JSON_CHOICE, .target = &pooling, .choices = NK_POOLING_NAMES},
      {.key = "normalize", .kind = NK_JSON_BOOL, .target = &normalize},
  };
  status = nk_json_options(options, table, sizeof table / sizeof table[0], NULL, &context->error);
  if (status != NK_STATUS_OK) return status;
  const nk_score_options wanted = {.chunk = chunk, .from = from, .reuse = reuse, .normalize = normalize,
                                   .output = (nk_score_output)output, .pooling = (nk_pooling)pooling};
  status = nk_score_rows_begin(&context->score, context->session, context->model, ids, count, &wanted, &context->error);
  if (status == NK_STATUS_OK) context->operation = NK_EVALUATING;
  return status;
}

nk_status nook_eval_step(nook_context *context, nook_rows *rows) {
  memset(rows, 0, sizeof *rows);
  if (context->operation != NK_EVALUATING) return nk_fail(&context->error, NK_STATUS_DATA, "no evaluation is under way");
  nk_score_rows got;
  nk_status status = nk_score_rows_step(context->score, &got, &context->error);
  if (status != NK_STATUS_OK) {
    nook_eval_end(context);
    return status;
  }
  *rows = (nook_rows){.values = got.values, .nll = got.nll, .columns = got.columns, .first = got.first, .n_rows = got.n,
                      .done = got.done, .total = got.total, .finished = got.finished};
  return NK_STATUS_OK;
}

static void end(nook_context *context) {
  nk_score_free(context->score);
  context->score = NULL;
  nk_session_trim(context->session, nk_session_length(context->session)); /* a feed under way ends */
  context->operation = NK_IDLE;
}

void nook_eval_end(nook_context *context) {
  if (context->operation == NK_EVALUATING) end(context);
}

nk_status nook_choices_begin(nook_context *context, const int32_t *ids, uint32_t count, const int32_t *choice_ids,
                             const uint32_t *choice_start, uint32_t n_choices) {
  nk_status status = nk_context_ready(context);
  if (status != NK_STATUS_OK) return status;
  if (n_choices > 0 && ((ids == NULL && count > 0) || choice_ids == NULL || choice_start == NULL))
    return nk_fail(&context->error, NK_STATUS_DATA, "the tokens of the prompt or of the choices are missing");
  status = nk_score_choices_begin(&context->score, context->session, context->model, ids, count, choice_ids,
                                  choice_start, n_choices, &context->error);
  if (status == NK_STATUS_OK) context->operation = NK_CHOOSING;
  return status;
}

static nk_status keep_choices(nook_context *context) {
  uint32_t n;
  const double *sums = nk_score_choices(context->score, &n);
  cJSON *root = cJSON_CreateObject();
  cJSON *list = root == NULL ? NULL : cJSON_AddArrayToObject(root, "choices");
  bool whole = list != NULL;
  for (uint32_t i = 0; whole && i < n; i++) {
    cJSON *choice = cJSON_CreateObject();
    whole = choice != NULL && cJSON_AddItemToArray(list, choice) &&
            cJSON_AddNumberToObject(choice, "logprob", sums[i]) != NULL &&
            cJSON_AddNumberToObject(choice, "tokens", nk_score_choice_tokens(context->score, i)) != NULL;
  }
  if (!whole) {
    cJSON_Delete(root);
    return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for the choices' result");
  }
  return nk_context_keep(context, &context->result_text, root);
}

nk_status nook_choices_step(nook_context *context, nook_rows *progress) {
  memset(progress, 0, sizeof *progress);
  if (context->operation != NK_CHOOSING) return nk_fail(&context->error, NK_STATUS_DATA, "no choices are being scored");
  bool finished;
  nk_status status = nk_score_choices_step(context->score, &finished, &context->error);
  if (status == NK_STATUS_OK && finished) status = keep_choices(context);
  if (status != NK_STATUS_OK) {
    nook_choices_end(context);
    return status;
  }
  nk_score_choices_progress(context->score, &progress->done, &progress->total);
  progress->finished = finished;
  return NK_STATUS_OK;
}

void nook_choices_end(nook_context *context) {
  if (context->operation == NK_CHOOSING) end(context);
}
