/* generate.c: see generate.h. */
#include "generate/generate.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "generate/options.h"

typedef enum ending { ENDING_NONE, ENDING_STOP, ENDING_LENGTH, ENDING_CONTEXT_FULL } ending;

struct nk_generation {
  nk_session *session;
  const nk_model *model;
  nk_generation_options options;

  int32_t *sequence; /* [context]: the prompt and what was drawn, as far as it is kept */
  uint32_t length;
  uint32_t prompt_n; /* tokens of `sequence` that are the prompt's */
  uint32_t asked_n;  /* of the prompt as it was given */
  uint32_t cached;   /* of them already in the cache at the beginning */
  uint32_t dropped;
  bool tell_shift;

  int32_t *drawn; /* [max_tokens] */
  float *logprobs; /* [max_tokens]; NULL: not wanted */
  nk_logprob *tops; /* [max_tokens, options.logprobs] */
  uint32_t n_drawn, max_tokens;

  nk_sampler sampler;
  void *sampler_memory;
  nk_text_stream stream;
  void *stream_memory;
  char *piece; /* [max_piece] */
  size_t max_piece;
  ending ending;
  bool flushed;
};

/* ---- Begin ------------------------------------------------------------------------------------------------------- */

void nk_generation_free(nk_generation *g) {
  if (g == NULL) return;
  nk_generation_options_free(&g->options);
  free(g->sequence);
  free(g->drawn);
  free(g->logprobs);
  free(g->tops);
  free(g->sampler_memory);
  free(g->stream_memory);
  free(g->piece);
  free(g);
}

static size_t longest_piece(const nk_tokenizer *tokenizer) {
  size_t longest = 1;
  for (uint32_t id = 0; id < nk_tokenizer_vocab(tokenizer); id++) {
    size_t length = nk_tokenizer_piece(tokenizer, (int32_t)id, false, NULL, 0);
    if (length > longest) longest = length;
  }
  return longest;
}

uint64_t nk_generation_bytes(uint32_t vocab, uint32_t context) {
  return nk_sampler_bytes(vocab) + 2 * (uint64_t)context * sizeof(int32_t);
}

/* Everything that the whole generation needs, so that no token allocates. */
static nk_status allocate(nk_generation *g, nk_error *error) {
  uint32_t context = nk_session_context(g->session), vocab = g->model->vocab;
  g->max_piece = longest_piece(g->model->tokenizer);
  uint64_t stream_bytes = nk_text_stream_bytes(g->options.stops, g->options.n_stops, g->max_piece);
  uint64_t sampler_bytes = nk_sampler_bytes(vocab);
  bool wants_logprobs = g->options.logprobs != UINT32_MAX;
  g->sampler_memory = sampler_bytes > SIZE_MAX ? NULL : malloc((size_t)sampler_bytes); /* the largest finds a gap first */
  g->sequence = malloc((size_t)context * sizeof *g->sequence);
  g->drawn = malloc((size_t)g->max_tokens * sizeof *g->drawn);
  g->stream_memory = stream_bytes > SIZE_MAX ? NULL : malloc((size_t)stream_bytes);
  g->piece = malloc(g->max_piece);
  bool whole =
      g->sequence != NULL && g->drawn != NULL && g->sampler_memory != NULL && g->stream_memory != NULL && g->piece != NULL;
  if (whole && wants_logprobs) {
    uint64_t tops = (uint64_t)g->max_tokens * g->options.logprobs * sizeof *g->tops;
    g->logprobs = malloc((size_t)g->max_tokens * sizeof *g->logprobs);
    g->tops = tops > SIZE_MAX ? NULL : malloc(tops == 0 ? 1 : (size_t)tops);
    whole = g->logprobs != NULL && g->tops != NULL;
  }
  if (!whole) {
    return nk_fail_hint(error, NK_STATUS_MEMORY, "Ask for fewer tokens.", "no memory to generate %u tokens", g->max_tokens);
  }
  nk_status status = nk_sampler_init(&g->sampler, &g->options.sampler, vocab, g->sampler_memory, error);
  if (status != NK_STATUS_OK) return status;
  return nk_text_stream_init(&g->stream, g->options.stops, g->options.n_stops, g->max_piece, g->stream_memory, error);
}

/* Tokens that stay at the beginning when something is dropped from `room` positions: never so many that nothing can
   move. */
static uint32_t kept(const nk_generation *g, uint32_t room) {
  return g->options.keep < room / 2 ? g->options.keep : room / 2;
}

/* The prompt, cut in the middle if it is longer than the context and the caller chose so. One position stays free. */
static nk_status take_prompt(nk_generation *g, const int32_t *ids, uint32_t n, nk_error *error) {
  uint32_t context = nk_session_context(g->session), room = context - 1;
  if (n == 0) return nk_fail(error, NK_STATUS_DATA, "the prompt is empty");
  if (n > room && !g->options.shift) {
    return nk_fail_hint(error, NK_STATUS_CONTEXT_FULL,
                        "Shorten the prompt, load with a larger context, or let the middle be dropped.",
                        "the prompt of %u tokens leaves no room in the context of %u", n, context);
  }
  uint32_t head = n > room ? kept(g, room) : n;
  uint32_t tail = n > room ? room - head : 0;
  memcpy(g->sequence, ids, head * sizeof *ids);
  if (tail > 0) memcpy(g->sequence + head, ids + (n - tail), tail * sizeof *ids);
  g->asked_n = n;
  g->length = g->prompt_n = head + tail;
  g->dropped = n - g->length;
  g->tell_shift = g->dropped > 0;
  return NK_STATUS_OK;
}

nk_status nk_generation_begin(nk_generation **out, nk_session *session, const nk_model *model, const int32_t *ids,
                              uint32_t n, const char *options, nk_error *error) {
  *out = NULL;
  uint32_t context = nk_session_context(session);
  if (context < 2) return nk_fail(error, NK_STATUS_CONTEXT_FULL, "a context of one token leaves no room for an answer");
  nk_generation *g = calloc(1, sizeof *g);
  if (g == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to generate");
  g->session = session;
  g->model = model;
  nk_status status = nk_session_need_head(g->session, error);
  if (status == NK_STATUS_OK) status = nk_generation_options_read(&g->options, options, model->vocab, error);
  g->max_tokens = g->options.max_tokens == UINT32_MAX ? context : g->options.max_tokens;
  /* Without dropping the middle the context ends it before: no room is set aside for more. */
  if (!g->options.shift && g->max_tokens > context) g->max_tokens = context;
  if (status == NK_STATUS_OK) status = allocate(g, error);
  if (status == NK_STATUS_OK) status = take_prompt(g, ids, n, error);
  if (status == NK_STATUS_OK) {
    /* The last token is read in any case: its logits are needed. */
    uint32_t known = g->options.reuse ? nk_session_match(session, g->sequence, g->length - 1) : 0;
    nk_session_trim(session, known);
    g->cached = known;
    status = nk_session_feed(session, g->sequence + known, g->length - known, g->options.chunk, error);
  }
  if (status != NK_STATUS_OK) {
    nk_generation_free(g);
    return status;
  }
  *out = g;
  return NK_STATUS_OK;
}

/* ---- Step -------------------------------------------------------------------------------------------------------- */

/* No room for another token: drop half of what is not kept, and read the rest anew. */
static nk_status make_room(nk_generation *g, nk_error *error) {
  uint32_t keep = kept(g, g->length);
  uint32_t drop = (g->length - keep + 1) / 2;
  memmove(g->sequence + keep, g->sequence + keep + drop, (g->length - keep - drop) * sizeof *g->sequence);
  g->length -= drop;
  uint32_t of_prompt = g->prompt_n > keep ? g->prompt_n - keep : 0;
  g->prompt_n -= of_prompt < drop ? of_prompt : drop;
  g->dropped += drop;
  g->tell_shift = true;
  /* The last token is read again even when it stays: its logits are needed (a context of two keeps one). */
  nk_session_trim(g->session, keep < g->length ? keep : g->length - 1);
  uint32_t known = nk_session_length(g->session);
  return nk_session_feed(g->session, g->sequence + known, g->length - known, 0, error);
}

/* Whatever was held back, once. */
static void flush(nk_generation *g, nk_generation_event *event) {
  if (g->flushed) return;
  g->flushed = true;
  nk_text_stream_flush(&g->stream, &event->text, &event->text_bytes);
}

static nk_status draw(nk_generation *g, nk_generation_event *event, nk_error *error) {
  const float *logits = nk_session_logits(g->session, nk_session_rows_count(g->session) - 1, 1);
  if (logits == NULL) return nk_fail(error, NK_STATUS_INTERNAL, "the last row of logits is not there");
  int32_t token;
  nk_status status = nk_sampler_draw(&g->sampler, logits, g->sequence, g->length, g->prompt_n, &token, error);
  if (status != NK_STATUS_OK) return status;
  event->kind = NK_STEP_TOKEN;
  event->token = token;
  if (g->logprobs != NULL) {
    nk_logprobs(logits, g->model->vocab, token, &event->logprob, g->tops + (size_t)g->n_drawn * g->options.logprobs,
                g->options.logprobs);
    g->logprobs[g->n_drawn] = event->logprob;
  }
  g->drawn[g->n_drawn++] = token;
  g->sequence[g->length++] = token; /* there is room: a full sequence was shifted or ended before */

  bool end = nk_tokenizer_is_end(g->model->tokenizer, token) && !g->options.ignore_end;
  if (!end) {
    size_t bytes = nk_tokenizer_piece(g->model->tokenizer, token, false, g->piece, g->max_piece);
    status = nk_text_stream_push(&g->stream, g->piece, bytes, &event->text, &event->text_bytes, error);
    if (status != NK_STATUS_OK) return status;
  }
  if (end || nk_text_stream_stop(&g->stream) >= 0) {
    g->ending = ENDING_STOP;
  } else if (g->n_drawn == g->max_tokens) {
    g->ending = ENDING_LENGTH;
  } else if (g->length == nk_session_context(g->session) && !g->options.shift) {
    g->ending = ENDING_CONTEXT_FULL;
  } else if (g->length == nk_session_context(g->session)) {
    return make_room(g, error);
  } else {
    return nk_session_feed(g->session, g->sequence + g->length - 1, 1, 0, error);
  }
  return NK_STATUS_OK;
}

nk_status nk_generation_step(nk_generation *g, nk_generation_event *event, nk_error *error) {
  *event = (nk_generation_event){.kind = NK_STEP_WORK, .text = "", .total = g->asked_n};
  if (g->tell_shift) {
    g->tell_shift = false;
    event->kind = NK_STEP_SHIFT;
    event->dropped = g->dropped;
    event->done = event->total;
    return NK_STATUS_OK;
  }
  if (g->ending != ENDING_NONE) {
    event->kind = NK_STEP_DONE;
    event->done = event->total;
    flush(g, event);
    return NK_STATUS_OK;
  }
  bool batch_done;
  nk_session_step(g->session, &batch_done);
  bool first = g->n_drawn == 0;
  event->done = first ? nk_session_length(g->session) : event->total;
  if (first) event->total = g->length;
  if (batch_done && !nk_session_feeding(g->session)) return draw(g, event, error);
  event->kind = first ? NK_STEP_READ : NK_STEP_WORK;
  return NK_STATUS_OK;
}

/* ---- Result ------------------------------------------------------------------------------------------------------ */

static const char *ending_name(const nk_generation *g) {
  switch (g->ending) {
    case ENDING_STOP: return "stop";
    case ENDING_LENGTH: return "length";
    case ENDING_CONTEXT_FULL: return "context_full";
    case ENDING_NONE: break;
  }
  return "abort";
}

static bool add_usage(cJSON *root, const nk_generation *g) {
  cJSON *usage = cJSON_AddObjectToObject(root, "usage");
  return usage != NULL && cJSON_AddNumberToObject(usage, "prompt_tokens", g->asked_n) != NULL &&
         cJSON_AddNumberToObject(usage, "completion_tokens", g->n_drawn) != NULL &&
         cJSON_AddNumberToObject(usage, "total_tokens", (double)g->asked_n + g->n_drawn) != NULL &&
         cJSON_AddNumberToObject(usage, "cached_tokens", g->cached) != NULL;
}

/* [{"token", "logprob", "top": [{"token", "logprob"}]}] */
static bool add_logprobs(cJSON *root, const nk_generation *g) {
  cJSON *list = cJSON_AddArrayToObject(root, "logprobs");
  if (list == NULL) return false;
  uint32_t n = g->options.logprobs < g->model->vocab ? g->options.logprobs : g->model->vocab;
  for (uint32_t i = 0; i < g->n_drawn; i++) {
    cJSON *one = cJSON_CreateObject();
    if (one == NULL || !cJSON_AddItemToArray(list, one) || cJSON_AddNumberToObject(one, "token", g->drawn[i]) == NULL ||
        cJSON_AddNumberToObject(one, "logprob", (double)g->logprobs[i]) == NULL) {
      return false;
    }
    cJSON *tops = cJSON_AddArrayToObject(one, "top");
    if (tops == NULL) return false;
    for (uint32_t t = 0; t < n; t++) {
      const nk_logprob *top = &g->tops[(size_t)i * g->options.logprobs + t];
      cJSON *entry = cJSON_CreateObject();
      if (entry == NULL || !cJSON_AddItemToArray(tops, entry) ||
          cJSON_AddNumberToObject(entry, "token", top->token) == NULL ||
          cJSON_AddNumberToObject(entry, "logprob", (double)top->logprob) == NULL) {
        return false;
      }
    }
  }
  return true;
}

cJSON *nk_generation_result(const nk_generation *g) {
  cJSON *root = cJSON_CreateObject();
  int32_t stop = nk_text_stream_stop(&g->stream);
  bool whole = root != NULL && cJSON_AddStringToObject(root, "finish_reason", ending_name(g)) != NULL &&
               add_usage(root, g) && cJSON_AddNumberToObject(root, "dropped", g->dropped) != NULL;
  if (whole && stop >= 0) {
    whole = nk_json_text(root, "stop", g->options.stops[stop].bytes, g->options.stops[stop].length);
  }
  cJSON *ids = whole ? cJSON_CreateIntArray(g->drawn, (int)g->n_drawn) : NULL;
  if (ids != NULL && !cJSON_AddItemToObject(root, "ids", ids)) { /* its key could not be had */
    cJSON_Delete(ids);
    ids = NULL;
  }
  whole = ids != NULL;
  if (whole && g->logprobs != NULL) whole = add_logprobs(root, g);
  if (whole) return root;
  cJSON_Delete(root);
  return NULL;
}
