/* generate.c: generation through the public interface; see nook.h and generate/generate.h. */
#include <string.h>

#include "api/context.h"

static void forget(nook_context *context) {
  nk_generation_free(context->generation);
  context->generation = NULL;
}

nk_status nook_generate_begin(nook_context *context, const int32_t *ids, uint32_t count, const char *options) {
  nk_status status = nk_context_ready(context);
  if (status != NK_STATUS_OK) return status;
  forget(context);
  if (ids == NULL && count > 0) return nk_fail(&context->error, NK_STATUS_DATA, "the prompt's tokens are missing");
  if (context->model->tokenizer == NULL) {
    return nk_fail_hint(&context->error, NK_STATUS_DATA, "Ask for logits instead.", "the model's file has no tokenizer");
  }
  status =
      nk_generation_begin(&context->generation, context->session, context->model, ids, count, options, &context->error);
  if (status == NK_STATUS_OK) context->operation = NK_GENERATING;
  return status;
}

/* Keeps the result and lets go of the generation; the cache keeps what was read. */
static nk_status end(nook_context *context) {
  nk_status status = nk_context_keep(context, &context->result_text, nk_generation_result(context->generation));
  nk_session_trim(context->session, nk_session_length(context->session));
  context->operation = NK_IDLE;
  return status;
}

nk_status nook_generate_step(nook_context *context, nook_event *event) {
  memset(event, 0, sizeof *event);
  event->text = "";
  if (context->operation != NK_GENERATING) return nk_fail(&context->error, NK_STATUS_DATA, "nothing is being generated");
  nk_generation_event got;
  nk_status status = nk_generation_step(context->generation, &got, &context->error);
  if (status == NK_STATUS_OK && got.kind == NK_STEP_DONE) status = end(context);
  if (status != NK_STATUS_OK) {
    nook_generate_end(context);
    return status;
  }
  static const uint32_t types[] = {[NK_STEP_READ] = NOOK_EVENT_PREFILL, [NK_STEP_TOKEN] = NOOK_EVENT_TOKEN,
                                   [NK_STEP_SHIFT] = NOOK_EVENT_SHIFT, [NK_STEP_DONE] = NOOK_EVENT_DONE,
                                   [NK_STEP_WORK] = NOOK_EVENT_STEP};
  *event = (nook_event){.type = types[got.kind],
                        .token = got.token,
                        .text = got.text,
                        .text_bytes = (uint32_t)got.text_bytes,
                        .logprob = got.logprob,
                        .done = got.done,
                        .total = got.total,
                        .dropped = got.dropped};
  return NK_STATUS_OK;
}

void nook_generate_end(nook_context *context) {
  if (context->operation == NK_GENERATING) (void)end(context);
  forget(context); /* after DONE its last text was still being shown */
}
