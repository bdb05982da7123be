/* load.c: loading a model through the public interface; see nook.h and model/load.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/context.h"

#define CONTEXT_DEFAULT 4096u /* tokens, where the model has been trained for more */

/* ---- Options ----------------------------------------------------------------------------------------------------- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool read_sha256(const char *text, uint8_t digest[32]) {
  if (strlen(text) != 64) return false;
  for (int i = 0; i < 32; i++) {
    int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    digest[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

/* "files": [{"bytes": n, "sha256"?: hex}] */
static nk_status read_files(const cJSON *json, nk_load_file **out, uint32_t *n, nk_error *error) {
  int count = cJSON_IsArray(json) ? cJSON_GetArraySize(json) : 0;
  if (count < 1 || (uint32_t)count > NK_MAX_FILES) {
    return nk_fail(error, NK_STATUS_DATA, "files must be a list of 1 to %u files", NK_MAX_FILES);
  }
  nk_load_file *files = calloc((size_t)count, sizeof *files);
  if (files == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of files");
  *out = files;
  *n = 0;
  const cJSON *entry;
  cJSON_ArrayForEach(entry, json) {
    const cJSON *item;
    bool sized = false;
    nk_load_file *file = &files[(*n)++];
    if (!cJSON_IsObject(entry)) return nk_fail(error, NK_STATUS_DATA, "files[%u] must be an object", *n - 1);
    cJSON_ArrayForEach(item, entry) {
      if (strcmp(item->string, "bytes") == 0) {
        double bytes = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
        if (!(bytes >= 0.0 && bytes <= 9007199254740992.0) || bytes != (double)(uint64_t)bytes) {
          return nk_fail(error, NK_STATUS_DATA, "files[%u].bytes must be an integer from 0 to 2^53", *n - 1);
        }
        file->bytes = (uint64_t)bytes;
        sized = true;
      } else if (strcmp(item->string, "sha256") == 0) {
        if (cJSON_IsNull(item)) continue;
        if (!cJSON_IsString(item) || !read_sha256(item->valuestring, file->sha256)) {
          return nk_fail(error, NK_STATUS_DATA, "files[%u].sha256 must be 64 hexadecimal digits", *n - 1);
        }
        file->hashed = true;
      } else {
        return nk_fail(error, NK_STATUS_DATA, "files[%u] has an unknown key \"%.40s\"; known are bytes, sha256", *n - 1,
                       item->string);
      }
    }
    if (!sized) return nk_fail(error, NK_STATUS_DATA, "files[%u] lacks its bytes", *n - 1);
  }
  return NK_STATUS_OK;
}

nk_status nook_load_begin(nook_context *context, const char *options) {
  if (context->machine.ops == NULL || context->machine.pool == NULL)
    return nk_fail(&context->error, NK_STATUS_INTERNAL, "the context was not created whole");
  if (context->operation != NK_IDLE) {
    return nk_fail_hint(&context->error, NK_STATUS_BUSY, "End it first.", "another operation is under way");
  }
  if (context->model != NULL) {
    return nk_fail_hint(&context->error, NK_STATUS_BUSY, "Unload it first.", "a model is loaded already");
  }
  const cJSON *list = NULL;
  bool plan = false;
  uint32_t kv = UINT32_MAX, activations = 0, tokens = 0, batch = 0;
  const nk_json_option table[] = {
      {.key = "files", .kind = NK_JSON_VALUE, .target = &list},
      {.key = "plan", .kind = NK_JSON_BOOL, .target = &plan},
      {.key = "context", .kind = NK_JSON_U32, .target = &tokens, .min = 1, .max = NK_MAX_CONTEXT},
      {.key = "batch", .kind = NK_JSON_U32, .target = &batch, .min = 1, .max = NK_BATCH_MAX},
      {.key = "kv", .kind = NK_JSON_CHOICE, .target = &kv, .choices = NK_KV_TYPE_NAMES},
      {.key = "activations", .kind = NK_JSON_CHOICE, .target = &activations, .choices = "auto|f32"},
  };
  cJSON *root = NULL;
  nk_load_file *files = NULL;
  uint32_t n_files = 0;
  nk_status status = nk_json_options(options, table, sizeof table / sizeof table[0], &root, &context->error);
  if (status == NK_STATUS_OK) status = read_files(list, &files, &n_files, &context->error);
  if (status == NK_STATUS_OK) status = nk_loader_create(&context->loader, files, n_files, &context->error);
  free(files);
  cJSON_Delete(root);
  if (status != NK_STATUS_OK) return status;
  bool exact = activations == 1;
  nk_kv_type kv_default = exact ? NK_KV_F32 : NK_KV_F16;
  context->wanted = (nk_session_options){.context = tokens, .batch = batch, .float_activations = exact,
                                         .kv = kv == UINT32_MAX ? kv_default : (nk_kv_type)kv};
  cJSON_free(context->info_text); /* an earlier plan's facts would look like this file's */
  context->info_text = NULL;
  context->kv_asked = kv != UINT32_MAX;
  context->plan_only = plan;
  context->planned = false;
  context->operation = NK_LOADING;
  return NK_STATUS_OK;
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

static nk_status planned(nook_context *context) {
  nk_load_plan plan;
  nk_status status = nk_loader_plan(context->loader, &plan, &context->error);
  if (status != NK_STATUS_OK) return status;
  const nk_config *config = &nk_loader_model(context->loader)->config;
  context->planned = true;
  context->chosen = context->wanted;
  context->chosen.spare_bytes = plan.header_bytes; /* what holds the header now becomes the session's */
  if (context->chosen.context == 0) {
    context->chosen.context = config->context < CONTEXT_DEFAULT ? config->context : CONTEXT_DEFAULT;
  }
  /* An encoder's cache is one layer of one text: nothing is saved by rounding it. */
  if (config->arch != NULL && config->arch->encoder && !context->kv_asked) context->chosen.kv = NK_KV_F32;
  if (config->arch != NULL && config->arch->rope == NK_ROPE_NONE && context->chosen.context > config->context) {
    return nk_fail_hint(&context->error, NK_STATUS_DATA, "Ask for at most that many.",
                        "the model has learned %u positions, a context of %u is more than that", config->context,
                        context->chosen.context);
  }
  return nk_context_describe(context, &plan);
}

static nk_status finish(nook_context *context) {
  nk_status status = nk_loader_take(context->loader, &context->model, &context->error);
  if (status != NK_STATUS_OK) return status;
  nk_loader_free(context->loader); /* its staging buffer goes before the session's memory comes */
  context->loader = NULL;
  context->chosen.spare = context->model->spare;
  return nk_session_create(&context->session, context->model, &context->machine, &context->chosen, &context->error);
}

static nk_status step(nook_context *context, nook_want *want) {
  nk_request request;
  nk_status status = nk_loader_step(context->loader, &request, &context->error);
  if (status != NK_STATUS_OK) return status;
  if (request.length == 0 && !context->planned) {
    if ((status = planned(context)) != NK_STATUS_OK) return status;
    if (context->plan_only) {
      want->finished = 1;
      return NK_STATUS_OK;
    }
    if ((status = nk_loader_weights(context->loader, &context->error)) != NK_STATUS_OK) return status;
    if ((status = nk_loader_step(context->loader, &request, &context->error)) != NK_STATUS_OK) return status;
  }
  want->done = nk_loader_done(context->loader);
  want->total = nk_loader_total(context->loader);
  want->offset = request.offset;
  want->destination = request.destination;
  want->length = request.length;
  want->file = request.file;
  if (request.length > 0) return NK_STATUS_OK;
  want->finished = 1;
  return finish(context);
}

/* What to do about a file where whoever refused it knew nothing better. */
static void advise(nk_error *error) {
  if (error->hint[0] != '\0') return;
  if (error->status == NK_STATUS_FORMAT) {
    (void)snprintf(error->hint, sizeof error->hint,
                   "The file is damaged or was converted wrongly: fetch it again, or convert it anew.");
  } else if (error->status == NK_STATUS_UNSUPPORTED) {
    (void)snprintf(error->hint, sizeof error->hint, "docs/support.md lists what can be loaded.");
  } else if (error->status == NK_STATUS_MEMORY) {
    (void)snprintf(error->hint, sizeof error->hint, "Choose a smaller model or a shorter context.");
  }
}

nk_status nook_load_step(nook_context *context, nook_want *want) {
  memset(want, 0, sizeof *want);
  if (context->operation != NK_LOADING) return nk_fail(&context->error, NK_STATUS_DATA, "nothing is being loaded");
  nk_status status = step(context, want);
  if (status != NK_STATUS_OK) {
    advise(&context->error);
    nook_unload(context);
    memset(want, 0, sizeof *want);
    return status;
  }
  if (want->finished) {
    nk_loader_free(context->loader);
    context->loader = NULL;
    context->operation = NK_IDLE;
  }
  return NK_STATUS_OK;
}

void nook_load_cancel(nook_context *context) {
  if (context->operation != NK_LOADING) return;
  nk_loader_free(context->loader);
  context->loader = NULL;
  context->operation = NK_IDLE;
  cJSON_free(context->info_text);
  context->info_text = NULL;
}

void nook_unload(nook_context *context) {
  nook_load_cancel(context);
  nk_score_free(context->score);
  nk_generation_free(context->generation);
  nk_conversion_free(context->conversion);
  nk_context_release_adapters(context);
  nk_session_free(context->session);
  nk_model_free(context->model);
  free(context->ids);
  free(context->text);
  cJSON_free(context->info_text);
  context->score = NULL;
  context->generation = NULL;
  context->conversion = NULL;
  context->session = NULL;
  context->model = NULL;
  context->ids = NULL;
  context->ids_capacity = 0;
  context->text = NULL;
  context->info_text = NULL;
  context->operation = NK_IDLE;
}

void nook_session_clear(nook_context *context) {
  if (context->session != NULL && context->operation == NK_IDLE) nk_session_trim(context->session, 0);
}
