/*
 * trial.h: one file through the engine as a host would drive it: load, tokenize, evaluate, generate, unload.
 *
 * Used by mutate.c (mutated files) and by tests/fuzz/fuzz_load.c. A file is a view of pieces, so that a mutated header can
 * stand before 98 MB of unchanged weights without a copy. A host that has fewer bytes than are wanted fails by itself: the
 * engine knows the size and must not ask beyond it, which is one of the contracts checked here.
 * Result   An outcome: a status with its sentence, or tokens and a hash of all logits. Broken contracts end in
 *          `broken` (a sentence); crashes and undefined behaviour are the sanitizers' to see.
 */
#ifndef NOOK_TESTS_TRIAL_H
#define NOOK_TESTS_TRIAL_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cJSON.h>

#include "core/utf8.h"
#include "nook.h"

#define TRIAL_MAX_STEPS 100000u /* of any one loop: more is a hang */
#define TRIAL_EVAL 6u           /* tokens evaluated */
#define TRIAL_DRAW 4u           /* tokens generated */

/* A file: `head`, then `tail`, all of it cut at `bytes`. */
typedef struct trial_file {
  const uint8_t *head, *tail;
  uint64_t head_bytes, tail_bytes, bytes;
} trial_file;

typedef struct trial_outcome {
  nk_status status;     /* OK: loaded */
  char code[32];        /* of nook_error() */
  char message[1200];   /* the sentence of nook_error(), as JSON holds it */
  char hint[400];       /* what to do, or "" */
  char broken[400];     /* a contract that did not hold; "" when all did */
  uint64_t logits_hash; /* FNV-1a over the bits of all logits, NaN as one value */
  int32_t drawn[TRIAL_DRAW];
  uint32_t n_drawn, n_tokens; /* drawn; of the text */
  uint64_t tokens_hash;
  char generation[32]; /* code of what generation ended in: "ok", or an error's */
} trial_outcome;

#define TRIAL_BROKEN(outcome, ...) \
  ((void)((outcome)->broken[0] == '\0' && snprintf((outcome)->broken, sizeof (outcome)->broken, __VA_ARGS__) > 0))

static inline uint64_t trial_hash(uint64_t hash, const void *bytes, size_t n) {
  const uint8_t *at = bytes;
  for (size_t i = 0; i < n; i++) hash = (hash ^ at[i]) * 0x100000001B3u; /* FNV-1a, 64 bits */
  return hash;
}

#define TRIAL_HASH_START 0xCBF29CE484222325u

/* False: the engine asked for bytes that the file does not have. */
static inline bool trial_read(const trial_file *file, uint64_t offset, uint8_t *destination, uint32_t length) {
  if (offset > file->bytes || length > file->bytes - offset) return false;
  for (uint32_t done = 0; done < length;) {
    uint64_t at = offset + done, n = length - done;
    const uint8_t *from;
    if (at < file->head_bytes) {
      from = file->head + at;
      if (n > file->head_bytes - at) n = file->head_bytes - at;
    } else {
      from = file->tail + (at - file->head_bytes);
    }
    memcpy(destination + done, from, (size_t)n);
    done += (uint32_t)n;
  }
  return true;
}

/* The sentence of the last error; a missing, empty or unreadable one breaks the contract. */
static inline void trial_error(nook_context *context, nk_status status, trial_outcome *out) {
  cJSON *json = cJSON_Parse(nook_error(context));
  const char *code = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "code"));
  const char *message = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "message"));
  if (code == NULL || message == NULL || strlen(message) < 12) {
    TRIAL_BROKEN(out, "the error has no sentence: %.200s", nook_error(context));
  } else {
    if (strcmp(code, nk_status_code(status)) != 0)
      TRIAL_BROKEN(out, "status %s, but the error says %s", nk_status_code(status), code);
    if (status == NK_STATUS_INTERNAL) TRIAL_BROKEN(out, "an internal error: %.200s", message);
    (void)snprintf(out->code, sizeof out->code, "%s", code);
    (void)snprintf(out->message, sizeof out->message, "%s", message);
    const char *hint = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "hint"));
    (void)snprintf(out->hint, sizeof out->hint, "%s", hint == NULL ? "" : hint);
  }
  cJSON_Delete(json);
}

static inline nk_status trial_load(nook_context *context, const trial_file *file, const char *options, trial_outcome *out) {
  char text[256];
  (void)snprintf(text, sizeof text, "{\"files\":[{\"bytes\":%llu}]%s}", (unsigned long long)file->bytes, options);
  nk_status status = nook_load_begin(context, text);
  uint64_t before = 0;
  for (uint32_t steps = 0; status == NK_STATUS_OK; steps++) {
    nook_want want;
    if (steps == TRIAL_MAX_STEPS) {
      TRIAL_BROKEN(out, "loading did not end within %u steps", steps);
      nook_load_cancel(context);
      return NK_STATUS_INTERNAL;
    }
    status = nook_load_step(context, &want);
    if (status != NK_STATUS_OK || want.finished) break;
    if (want.length == 0 || want.destination == NULL) TRIAL_BROKEN(out, "a step neither wanted bytes nor finished");
    if (want.done < before || want.done > want.total) TRIAL_BROKEN(out, "the progress went astray");
    before = want.done;
    if (!trial_read(file, want.offset, want.destination, want.length)) {
      TRIAL_BROKEN(out, "%u bytes were wanted from %llu of a file of %llu", want.length, (unsigned long long)want.offset,
                   (unsigned long long)file->bytes);
      nook_load_cancel(context);
      return NK_STATUS_INTERNAL;
    }
  }
  return status;
}

static inline void trial_evaluate(nook_context *context, const int32_t *ids, uint32_t n, trial_outcome *out) {
  nk_status status = nook_eval_begin(context, ids, n, "{\"reuse\":false}");
  if (status == NK_STATUS_UNSUPPORTED) { /* an encoder */
    status = nook_eval_begin(context, ids, n, "{\"reuse\":false,\"output\":\"hidden\"}");
  }
  nook_rows rows = {0};
  uint32_t got = 0;
  out->logits_hash = TRIAL_HASH_START;
  for (uint32_t steps = 0; status == NK_STATUS_OK && !rows.finished; steps++) {
    status = nook_eval_step(context, &rows);
    if (steps == TRIAL_MAX_STEPS) {
      TRIAL_BROKEN(out, "evaluating did not end within %u steps", steps);
      break;
    }
    if (status != NK_STATUS_OK) break;
    for (size_t i = 0; i < (size_t)rows.n_rows * rows.columns; i++) {
      uint32_t bits;
      memcpy(&bits, &rows.values[i], sizeof bits);
      if ((bits & 0x7f800000u) == 0x7f800000u && (bits & 0x7fffffu) != 0) bits = 0x7fc00000u;
      out->logits_hash = (out->logits_hash ^ bits) * 0x100000001B3u;
    }
    got += rows.n_rows;
  }
  if (status != NK_STATUS_OK) trial_error(context, status, out);
  else if (got != n) TRIAL_BROKEN(out, "%u rows for %u tokens", got, n);
  nook_eval_end(context);
}

static inline void trial_generate(nook_context *context, const int32_t *ids, uint32_t n, uint32_t vocab,
                                  trial_outcome *out) {
  nk_status status =
      nook_generate_begin(context, ids, n, "{\"max_tokens\":4,\"temperature\":0,\"logprobs\":1,\"ignore_end\":true}");
  for (uint32_t steps = 0; status == NK_STATUS_OK; steps++) {
    nook_event event;
    if (steps == TRIAL_MAX_STEPS) {
      TRIAL_BROKEN(out, "generating did not end within %u steps", steps);
      break;
    }
    status = nook_generate_step(context, &event);
    if (status != NK_STATUS_OK || event.type == NOOK_EVENT_DONE) break;
    for (uint32_t at = 0, step; at < event.text_bytes; at += step) {
      if (nk_utf8_scan(event.text + at, event.text_bytes - at, &step) != NK_UTF8_WHOLE) {
        TRIAL_BROKEN(out, "the streamed text is not UTF-8");
        break;
      }
    }
    if (event.type != NOOK_EVENT_TOKEN) continue;
    if (event.token < 0 || (uint32_t)event.token >= vocab)
      TRIAL_BROKEN(out, "token %d was drawn of %u", event.token, vocab);
    if (out->n_drawn == TRIAL_DRAW) TRIAL_BROKEN(out, "more tokens were drawn than asked for");
    else out->drawn[out->n_drawn++] = event.token;
  }
  nook_generate_end(context);
  (void)snprintf(out->generation, sizeof out->generation, "%s", nk_status_code(status));
  if (status != NK_STATUS_OK) trial_error(context, status, out);
  cJSON *result = cJSON_Parse(nook_result(context));
  if (status == NK_STATUS_OK && !cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(result, "ids"))) {
    TRIAL_BROKEN(out, "the result is no JSON: %.200s", nook_result(context));
  }
  cJSON_Delete(result);
}

/* options: further keys of nook_load_begin, each after a comma. The context is as before afterwards. */
static inline void trial_run(nook_context *context, const trial_file *file, const char *options, trial_outcome *out) {
  static const char text[] = "<|im_start|>user\nHello, the \xC3\xA9 12 worlds!\xFF  <|im_end|>\n \xE4\xB8\xAD it's";
  *out = (trial_outcome){.status = NK_STATUS_OK, .generation = ""};
  out->status = trial_load(context, file, options, out);
  if (out->broken[0] != '\0') return;
  if (out->status != NK_STATUS_OK) {
    trial_error(context, out->status, out);
    if (out->hint[0] == '\0') TRIAL_BROKEN(out, "nothing says what to do after: %.200s", out->message);
    nook_want want;
    if (nook_load_step(context, &want) != NK_STATUS_DATA) TRIAL_BROKEN(out, "a failed load goes on");
    return;
  }
  cJSON *info = cJSON_Parse(nook_info(context));
  const cJSON *number = cJSON_GetObjectItemCaseSensitive(info, "vocabulary");
  uint32_t vocab = cJSON_IsNumber(number) ? (uint32_t)number->valuedouble : 0;
  bool has_tokenizer = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(info, "tokenizer"));
  cJSON_Delete(info);
  if (vocab == 0) {
    TRIAL_BROKEN(out, "the facts of the model cannot be read: %.200s", nook_info(context));
    nook_unload(context);
    return;
  }
  int32_t ids[TRIAL_EVAL];
  uint32_t n = 0;
  if (has_tokenizer) {
    const nook_span spans[] = {{0, sizeof text - 14, 1}, {sizeof text - 14, 13, 0}};
    const int32_t *tokens;
    nk_status status =
        nook_tokenize(context, text, sizeof text - 1, spans, 2, NOOK_TOKENIZE_ADD_SPECIAL, &tokens, &out->n_tokens);
    if (status != NK_STATUS_OK) trial_error(context, status, out);
    out->tokens_hash = TRIAL_HASH_START;
    for (uint32_t i = 0; i < out->n_tokens; i++) {
      if (tokens[i] < 0 || (uint32_t)tokens[i] >= vocab) TRIAL_BROKEN(out, "the text has token %d of %u", tokens[i], vocab);
      out->tokens_hash = trial_hash(out->tokens_hash, &tokens[i], sizeof tokens[i]);
    }
    if (out->n_tokens > 0) {
      for (n = 0; n < TRIAL_EVAL - 1 && n < out->n_tokens; n++) ids[n] = tokens[n];
      int32_t *copy = nook_reserve(out->n_tokens * sizeof *copy);
      const char *back;
      uint32_t bytes;
      if (copy != NULL) {
        memcpy(copy, tokens, out->n_tokens * sizeof *copy);
        if ((status = nook_detokenize(context, copy, out->n_tokens, 1, &back, &bytes)) != NK_STATUS_OK) {
          trial_error(context, status, out);
        } else {
          out->tokens_hash = trial_hash(out->tokens_hash, back, bytes);
        }
      }
      nook_release(copy);
    }
  }
  ids[n++] = (int32_t)(vocab - 1);
  trial_evaluate(context, ids, n, out);
  if (has_tokenizer && out->broken[0] == '\0') trial_generate(context, ids, n, vocab, out);
  nook_unload(context);
}

#endif
