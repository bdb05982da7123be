/* convert.c: converting a checkpoint through the public interface; see nook.h and convert/convert.h. */
#include <stdlib.h>
#include <string.h>

#include "api/context.h"

/* "files": [{"name": text, "bytes": n}]; the names point into the tree. */
static nk_status read_files(const cJSON *list, nk_convert_file **out, uint32_t *n, nk_error *error) {
  int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
  if (count < 1 || (uint32_t)count > NK_CONVERT_MAX_FILES) {
    return nk_fail(error, NK_STATUS_DATA, "files must be a list of 1 to %u files", NK_CONVERT_MAX_FILES);
  }
  *out = calloc((size_t)count, sizeof **out);
  if (*out == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of files");
  for (const cJSON *entry = list->child; entry != NULL; entry = entry->next) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(entry, "name"),
                *size = cJSON_GetObjectItemCaseSensitive(entry, "bytes");
    double bytes = cJSON_IsNumber(size) ? size->valuedouble : -1.0;
    bool whole = bytes >= 0.0 && bytes <= 9007199254740992.0 && !(bytes > (double)(uint64_t)bytes);
    if (!cJSON_IsString(name) || name->valuestring[0] == '\0' || !whole || cJSON_GetArraySize(entry) != 2) {
      return nk_fail(error, NK_STATUS_DATA, "files[%u] must have a name and its bytes, and no more", *n);
    }
    (*out)[(*n)++] = (nk_convert_file){name->valuestring, (uint64_t)bytes};
  }
  return NK_STATUS_OK;
}

nk_status nook_convert_begin(nook_context *context, const char *options) {
  if (context->operation != NK_IDLE) {
    return nk_fail_hint(&context->error, NK_STATUS_BUSY, "End it first.", "another operation is under way");
  }
  const cJSON *list = NULL, *name = NULL;
  uint32_t outtype = 1;
  const nk_json_option table[] = {
      {.key = "files", .kind = NK_JSON_VALUE, .target = &list},
      {.key = "outtype", .kind = NK_JSON_CHOICE, .target = &outtype, .choices = NK_CONVERT_OUTTYPES},
      {.key = "name", .kind = NK_JSON_VALUE, .target = &name},
  };
  cJSON *root = NULL;
  nk_convert_file *files = NULL;
  uint32_t n_files = 0;
  nk_status status = nk_json_options(options, table, sizeof table / sizeof table[0], &root, &context->error);
  if (status == NK_STATUS_OK) status = read_files(list, &files, &n_files, &context->error);
  if (status == NK_STATUS_OK && name != NULL && !cJSON_IsString(name)) {
    status = nk_fail(&context->error, NK_STATUS_DATA, "the option \"name\" must be a text");
  }
  if (status == NK_STATUS_OK) {
    status = nk_conversion_create(&context->conversion, files, n_files, outtype, name == NULL ? NULL : name->valuestring,
                                  &context->error);
  }
  free(files);
  cJSON_Delete(root);
  if (status == NK_STATUS_OK) context->operation = NK_CONVERTING;
  return status;
}

nk_status nook_convert_step(nook_context *context, nook_conversion *step) {
  memset(step, 0, sizeof *step);
  if (context->operation != NK_CONVERTING) return nk_fail(&context->error, NK_STATUS_DATA, "nothing is being converted");
  nk_convert_turn turn;
  nk_status status = nk_conversion_step(context->conversion, &turn, &context->error);
  if (status == NK_STATUS_OK && turn.finished) {
    status = nk_context_keep(context, &context->result_text, nk_conversion_facts(context->conversion));
  }
  if (status != NK_STATUS_OK) {
    nook_convert_end(context);
    return status;
  }
  nk_conversion_progress(context->conversion, &step->done, &step->total);
  step->offset = turn.offset;
  step->destination = turn.destination;
  step->output = turn.output;
  step->length = turn.length;
  step->file = turn.file;
  step->output_bytes = turn.output_bytes;
  step->finished = turn.finished;
  return NK_STATUS_OK;
}

void nook_convert_end(nook_context *context) {
  if (context->operation != NK_CONVERTING) return;
  nk_conversion_free(context->conversion);
  context->conversion = NULL;
  context->operation = NK_IDLE;
}
