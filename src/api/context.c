/* context.c: a context's life, errors, threads and memory; see nook.h. */
#include "api/context.h"

#include <stdlib.h>
#include <string.h>

/* ---- Create and destroy ---------------------------------------------------------------------------------------------- */

/* The best ISA of this build that agrees with the scalar kernels on this machine; without check, the best. */
static nk_status choose_isa(nook_context *context, uint32_t wanted, bool check) {
  static const nk_isa best_first[] = {NK_ISA_RELAXED, NK_ISA_SIMD128, NK_ISA_SCALAR};
  for (size_t i = 0; i < sizeof best_first / sizeof best_first[0]; i++) {
    nk_isa isa = best_first[i];
    if (wanted != 0 && (nk_isa)(wanted - 1) != isa) continue;
    const nk_ops *ops = nk_ops_get(isa);
    if (ops == NULL) continue;
    nk_status status = check ? nk_kernels_check(ops, &context->error) : NK_STATUS_OK;
    if (status == NK_STATUS_OK && check) status = nk_vec_check(nk_vec_get(isa), &context->error);
    if (status != NK_STATUS_OK) {
      if (wanted != 0) return status;
      continue;
    }
    context->machine.ops = ops;
    context->machine.vec = nk_vec_get(isa);
    context->isa = isa;
    return NK_STATUS_OK;
  }
  return nk_fail_hint(&context->error, NK_STATUS_UNSUPPORTED, "Leave the choice open, or take another build.",
                      "this build has no kernels of the kind that was asked for");
}

nook_context *nook_create(const char *options, nk_status *status) {
  nook_context *context = calloc(1, sizeof *context);
  if (context == NULL) {
    *status = NK_STATUS_MEMORY;
    return NULL;
  }
  uint32_t isa = 0, threads = 1;
  bool check = true;
  const nk_json_option table[] = {
      {.key = "isa", .kind = NK_JSON_CHOICE, .target = &isa, .choices = "auto|scalar|simd128|relaxed"},
      {.key = "threads", .kind = NK_JSON_U32, .target = &threads, .min = 1, .max = NK_POOL_MAX_THREADS},
      {.key = "check", .kind = NK_JSON_BOOL, .target = &check},
  };
  *status = nk_json_options(options, table, sizeof table / sizeof table[0], NULL, &context->error);
  if (*status == NK_STATUS_OK) *status = choose_isa(context, isa, check);
  if (*status == NK_STATUS_OK) {
    context->machine.pool = nk_pool_create(threads);
    if (context->machine.pool == NULL) *status = nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for threads");
  }
  return context;
}

void nook_destroy(nook_context *context) {
  if (context == NULL) return;
  nook_unload(context);
  nk_pool_free(context->machine.pool);
  cJSON_free(context->error_text);
  cJSON_free(context->info_text);
  cJSON_free(context->result_text);
  free(context);
}

/* ---- Errors and texts -------------------------------------------------------------------------------------------- */

nk_status nk_context_keep(nook_context *context, char **slot, cJSON *json) {
  char *text = json == NULL ? NULL : cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  if (text == NULL) return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for a text of facts");
  cJSON_free(*slot);
  *slot = text;
  return NK_STATUS_OK;
}

const char *nook_error(nook_context *context) {
  static const char out_of_memory[] = "{\"code\":\"memory\",\"message\":\"no memory for an error's text\",\"hint\":\"\"}";
  if (context == NULL) return out_of_memory;
  cJSON *json = cJSON_CreateObject();
  bool whole = json != NULL && cJSON_AddStringToObject(json, "code", nk_status_code(context->error.status)) != NULL &&
               nk_json_text(json, "message", context->error.text, strlen(context->error.text)) &&
               nk_json_text(json, "hint", context->error.hint, strlen(context->error.hint));
  char *text = whole ? cJSON_PrintUnformatted(json) : NULL;
  cJSON_Delete(json);
  if (text == NULL) return out_of_memory;
  cJSON_free(context->error_text);
  context->error_text = text;
  return text;
}

nk_status nk_context_ready(nook_context *context) {
  if (context->operation != NK_IDLE) {
    return nk_fail_hint(&context->error, NK_STATUS_BUSY, "End it first.", "another operation is under way");
  }
  if (context->model == NULL) return nk_fail_hint(&context->error, NK_STATUS_DATA, "Load one first.", "no model is loaded");
  return NK_STATUS_OK;
}

const char *nook_result(nook_context *context) { return context->result_text == NULL ? "{}" : context->result_text; }

const char *nook_info(nook_context *context) { return context->info_text == NULL ? "{}" : context->info_text; }

/* ---- Threads and memory ------------------------------------------------------------------------------------------ */

void nook_thread_main(nook_context *context, uint32_t index) {
  if (context != NULL && context->machine.pool != NULL) nk_pool_help(context->machine.pool, index);
}

void nook_threads_stop(nook_context *context) {
  if (context != NULL && context->machine.pool != NULL) nk_pool_stop(context->machine.pool);
}

void *nook_reserve(size_t bytes) { return malloc(bytes == 0 ? 1 : bytes); }
void nook_release(void *memory) { free(memory); }
