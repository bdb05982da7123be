/* tokens.c: text to ids and back through the public interface; see nook.h. */
#include <stdlib.h>
#include <string.h>

#include "api/context.h"

static nk_status need_tokenizer(nook_context *context) {
  if (context->model == NULL) return nk_fail_hint(&context->error, NK_STATUS_DATA, "Load one first.", "no model is loaded");
  if (context->model->tokenizer == NULL) {
    return nk_fail_hint(&context->error, NK_STATUS_DATA, "Give token ids instead of text.",
                        "the model's file has no tokenizer");
  }
  return NK_STATUS_OK;
}

static nk_status reserve_ids(nook_context *context, size_t count) {
  if (count <= context->ids_capacity) return NK_STATUS_OK;
  int32_t *grown = count > SIZE_MAX / sizeof *grown ? NULL : realloc(context->ids, count * sizeof *grown);
  if (grown == NULL)
    return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for %llu tokens", (unsigned long long)count);
  context->ids = grown;
  context->ids_capacity = count;
  return NK_STATUS_OK;
}

nk_status nook_tokenize(nook_context *context, const char *text, uint32_t bytes, const nook_span *spans, uint32_t n_spans,
                        uint32_t flags, const int32_t **ids, uint32_t *count) {
  *ids = NULL;
  *count = 0;
  nk_status status = need_tokenizer(context);
  if (status != NK_STATUS_OK) return status;
  if ((text == NULL && bytes > 0) || (spans == NULL && n_spans > 0) || n_spans == UINT32_MAX)
    return nk_fail(&context->error, NK_STATUS_DATA, "the text or its spans are missing");
  if (text == NULL) text = "";
  if ((flags & ~NOOK_TOKENIZE_ADD_SPECIAL) != 0)
    return nk_fail(&context->error, NK_STATUS_DATA, "unknown tokenize flags %u", flags);
  nk_span *parts = calloc((size_t)n_spans + 1, sizeof *parts);
  if (parts == NULL) return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for %u spans", n_spans);
  for (uint32_t i = 0; i < n_spans; i++) {
    if (spans[i].start > bytes || spans[i].length > bytes - spans[i].start || spans[i].parse_special > 1) {
      free(parts);
      return nk_fail(&context->error, NK_STATUS_DATA, "span %u does not lie inside the text of %u bytes", i, bytes);
    }
    parts[i] =
        (nk_span){.bytes = text + spans[i].start, .length = spans[i].length, .parse_special = spans[i].parse_special != 0};
  }
  bool add_special = (flags & NOOK_TOKENIZE_ADD_SPECIAL) != 0;
  /* A token is rarely shorter than a byte; when it is (byte-wise markers), the second try has the exact count. */
  size_t needed = (size_t)bytes + 8;
  if ((status = reserve_ids(context, needed)) == NK_STATUS_OK) {
    status = nk_tokenizer_encode(context->model->tokenizer, parts, n_spans, add_special, context->ids,
                                 context->ids_capacity, &needed, &context->error);
    if (status == NK_STATUS_DATA && needed > context->ids_capacity &&
        (status = reserve_ids(context, needed)) == NK_STATUS_OK) {
      status = nk_tokenizer_encode(context->model->tokenizer, parts, n_spans, add_special, context->ids,
                                   context->ids_capacity, &needed, &context->error);
    }
  }
  free(parts);
  if (status != NK_STATUS_OK) return status;
  *ids = context->ids;
  *count = (uint32_t)needed;
  return NK_STATUS_OK;
}

nk_status nook_detokenize(nook_context *context, const int32_t *ids, uint32_t count, uint32_t special, const char **text,
                          uint32_t *bytes) {
  *text = NULL;
  *bytes = 0;
  nk_status status = need_tokenizer(context);
  if (status != NK_STATUS_OK) return status;
  if (ids == NULL && count > 0) return nk_fail(&context->error, NK_STATUS_DATA, "the tokens are missing");
  const nk_tokenizer *tokenizer = context->model->tokenizer;
  size_t total = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (ids[i] < 0 || (uint32_t)ids[i] >= nk_tokenizer_vocab(tokenizer)) {
      return nk_fail(&context->error, NK_STATUS_DATA, "token %d at position %u is outside the vocabulary of %u", ids[i], i,
                     nk_tokenizer_vocab(tokenizer));
    }
    size_t length = nk_tokenizer_piece(tokenizer, ids[i], special != 0, NULL, 0);
    if (length > UINT32_MAX - 1 - total)
      return nk_fail(&context->error, NK_STATUS_DATA, "the text would be longer than 4 GB");
    total += length;
  }
  char *grown = realloc(context->text, total + 1);
  if (grown == NULL)
    return nk_fail(&context->error, NK_STATUS_MEMORY, "no memory for a text of %llu bytes", (unsigned long long)total);
  context->text = grown;
  size_t at = 0;
  for (uint32_t i = 0; i < count; i++) {
    at += nk_tokenizer_piece(tokenizer, ids[i], special != 0, context->text + at, total - at);
  }
  context->text[total] = '\0';
  *text = context->text;
  *bytes = (uint32_t)total;
  return NK_STATUS_OK;
}
