/* tokenizer.c: see tokenizer.h. Creation, the cutting of text at special tokens, and the facts of a vocabulary. */
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

/* One row for each value of tokenizer.ggml.model. */
static const nk_tokenizer_kind *const kinds[] = {&nk_tokenizer_bpe, &nk_tokenizer_spm, &nk_tokenizer_unigram,
                                                 &nk_tokenizer_wordpiece};

/* ---- Creation -------------------------------------------------------------------------------------------------- */

nk_status nk_tokenizer_get_id(const nk_gguf *gguf, const char *key, uint32_t n_vocab, uint32_t *id, nk_error *error) {
  *id = NK_NONE;
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  if (pair == NULL) return NK_STATUS_OK;
  if (pair->type == NK_GGUF_ARRAY || pair->type == NK_GGUF_STRING || pair->type == NK_GGUF_F32 ||
      pair->type == NK_GGUF_F64 || pair->type == NK_GGUF_BOOL) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key %s is not an integer", key);
  }
  int64_t value = nk_gguf_integer_at(pair, 0);
  if (value >= 0 && value < (int64_t)n_vocab) *id = (uint32_t)value;
  return NK_STATUS_OK;
}

/* Everything that needs only counts: runs on a measuring arena first, then on the real one. */
static nk_status lay_out(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_arena *arena, nk_error *error) {
  nk_text model;
  nk_status status = nk_gguf_get_text(gguf, "tokenizer.ggml.model", &model, error);
  if (status != NK_STATUS_OK) return status;
  if (model.bytes == NULL) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Convert the model again, with its tokenizer.",
                        "the file has no tokenizer (tokenizer.ggml.model is missing)");
  }
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strlen(kinds[i]->model) == model.length && memcmp(kinds[i]->model, model.bytes, model.length) == 0) {
      tokenizer->kind = kinds[i];
    }
  }
  if (tokenizer->kind == NULL) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED,
                   "the tokenizer model '%.*s' (tokenizer.ggml.model) is not one that Nook knows",
                   (int)(model.length < 64 ? model.length : 64), model.bytes);
  }
  status = nk_vocab_lay_out(&tokenizer->vocab, gguf, arena, error);
  if (status != NK_STATUS_OK) return status;
  const nk_vocab *vocab = &tokenizer->vocab;
  status = nk_tokenizer_get_id(gguf, "tokenizer.ggml.bos_token_id", vocab->n, &tokenizer->bos, error);
  if (status == NK_STATUS_OK) {
    status = nk_tokenizer_get_id(gguf, "tokenizer.ggml.eos_token_id", vocab->n, &tokenizer->eos, error);
  }
  if (status == NK_STATUS_OK) status = tokenizer->kind->lay_out(tokenizer, gguf, arena, error);
  if (status == NK_STATUS_OK) {
    status = nk_gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", tokenizer->add_bos, &tokenizer->add_bos, error);
  }
  if (status == NK_STATUS_OK) {
    status = nk_gguf_get_bool(gguf, "tokenizer.ggml.add_eos_token", tokenizer->add_eos, &tokenizer->add_eos, error);
  }
  if (status != NK_STATUS_OK) return status;
  tokenizer->specials.ids = nk_arena_take(arena, tokenizer->specials.room, sizeof *tokenizer->specials.ids);
  return nk_arena_ok(arena) ? NK_STATUS_OK
                            : nk_fail(error, NK_STATUS_INTERNAL, "the tokenizer's memory plan does not hold");
}

/* How many tokens nk_specials_fill may take in, at most: those of special types, and those that vocab.c may make control
   tokens (known ends of a turn, all of which begin with one of two characters). */
static nk_status count_specials(const nk_gguf *gguf, uint32_t *room, nk_error *error) {
  const nk_gguf_pair *tokens, *types;
  nk_status status = nk_gguf_get_array(gguf, "tokenizer.ggml.tokens", NK_GGUF_STRING, &tokens, error);
  if (status == NK_STATUS_OK) status = nk_gguf_get_array(gguf, "tokenizer.ggml.token_type", NK_GGUF_I32, &types, error);
  *room = 0;
  if (status != NK_STATUS_OK || tokens == NULL) return status;
  for (uint64_t id = 0; id < tokens->count && id < NK_TOKENIZER_MAX_VOCAB; id++) {
    nk_text text = nk_gguf_text_at(tokens, id);
    int64_t type = types == NULL || id >= types->count ? NK_TOKEN_NORMAL : nk_gguf_integer_at(types, id);
    if (text.length > 0 && (type == NK_TOKEN_UNKNOWN || type == NK_TOKEN_CONTROL || type == NK_TOKEN_USER ||
                            text.bytes[0] == '<' || text.bytes[0] == '_')) {
      (*room)++;
    }
  }
  return NK_STATUS_OK;
}

/* Measures: on OK *bytes is what creation will allocate. */
static nk_status measure(const nk_gguf *gguf, uint32_t room, uint64_t *bytes, nk_error *error) {
  nk_arena arena = nk_arena_measure();
  nk_tokenizer plan = {.specials = {.room = room}};
  nk_arena_take(&arena, 1, sizeof plan);
  nk_status status = lay_out(&plan, gguf, &arena, error);
  *bytes = status == NK_STATUS_OK ? arena.used : 0;
  return status;
}

uint64_t nk_tokenizer_bytes(const nk_gguf *gguf) {
  uint32_t room;
  uint64_t bytes;
  if (gguf == NULL || count_specials(gguf, &room, NULL) != NK_STATUS_OK) return 0;
  return measure(gguf, room, &bytes, NULL) == NK_STATUS_OK ? bytes : 0;
}

/* Marks the tokens that the file names as ends. */
static nk_status mark_ends(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_error *error) {
  static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    uint32_t id;
    nk_status status = nk_tokenizer_get_id(gguf, keys[i], tokenizer->vocab.n, &id, error);
    if (status != NK_STATUS_OK) return status;
    if (id != NK_NONE) tokenizer->vocab.types[id] |= NK_TOKEN_END;
  }
  return NK_STATUS_OK;
}

nk_status nk_tokenizer_create(nk_tokenizer **out, const nk_gguf *gguf, nk_error *error) {
  if (out == NULL) return nk_fail(error, NK_STATUS_DATA, "nk_tokenizer_create has no place for its result");
  *out = NULL;
  if (gguf == NULL) return nk_fail(error, NK_STATUS_DATA, "nk_tokenizer_create has no header");
  uint32_t room;
  uint64_t bytes;
  nk_status status = count_specials(gguf, &room, error);
  if (status == NK_STATUS_OK) status = measure(gguf, room, &bytes, error);
  if (status != NK_STATUS_OK) return status;
  nk_arena arena;
  status = nk_arena_allocate(&arena, bytes, "the tokenizer", error);
  if (status != NK_STATUS_OK) return status;
  nk_tokenizer *tokenizer = nk_arena_take(&arena, 1, sizeof *tokenizer);
  if (tokenizer == NULL) {
    nk_arena_free(&arena);
    return nk_fail(error, NK_STATUS_INTERNAL, "the tokenizer's memory plan does not hold");
  }
  tokenizer->specials.room = room;
  status = lay_out(tokenizer, gguf, &arena, error);
  if (status == NK_STATUS_OK) status = nk_vocab_fill(&tokenizer->vocab, gguf, error);
  if (status == NK_STATUS_OK) status = mark_ends(tokenizer, gguf, error);
  if (status == NK_STATUS_OK) status = tokenizer->kind->fill(tokenizer, gguf, error);
  if (status != NK_STATUS_OK) {
    nk_arena_free(&arena);
    return status;
  }
  nk_specials_fill(&tokenizer->specials, &tokenizer->vocab);
  if (tokenizer->kind->marks) nk_specials_find_runs(&tokenizer->specials, &tokenizer->vocab);
  tokenizer->arena = arena;
  *out = tokenizer;
  return NK_STATUS_OK;
}

void nk_tokenizer_free(nk_tokenizer *tokenizer) {
  if (tokenizer == NULL) return;
  nk_arena arena = tokenizer->arena; /* the record itself lies in it */
  nk_arena_free(&arena);
}

/* ---- Encoding -------------------------------------------------------------------------------------------------- */

void *nk_buffer_need(nk_buffer *buffer, size_t count, size_t bytes) {
  if (bytes != 0 && count > SIZE_MAX / bytes) return NULL;
  size_t wanted = count * bytes;
  if (wanted == 0) wanted = 1;
  if (buffer->bytes >= wanted) return buffer->memory;
  /* Grow by half at least, so that a text of ever longer words does not ask for memory at each. */
  if (wanted < SIZE_MAX / 2 && wanted < buffer->bytes + buffer->bytes / 2) wanted = buffer->bytes + buffer->bytes / 2;
  free(buffer->memory);
  *buffer = (nk_buffer){malloc(wanted), wanted};
  if (buffer->memory == NULL) buffer->bytes = 0;
  return buffer->memory;
}

/* The text of one call, and which parts of it may hold control tokens. */
typedef struct joined {
  const uint8_t *text;
  size_t length;
  const nk_span *spans;
  size_t n_spans, span; /* `span` is the one that holds the place last asked for */
  size_t end;           /* of that span in text */
} joined;

/* Where the control tokens that begin at `at` must end: the end of a trusted span, else `at`. Places asked for ascend, but
   for a look-ahead on a copy of the record. */
static size_t trusted_end(joined *text, size_t at) {
  while (at >= text->end && text->span + 1 < text->n_spans) {
    text->span++;
    text->end += text->spans[text->span].length;
  }
  return text->spans[text->span].parse_special && at < text->end ? text->end : at;
}

/* The longest special token at `at`, control tokens up to `trusted`. */
static uint32_t longest_at(const nk_tokenizer *tokenizer, const joined *text, size_t at, size_t end, size_t trusted,
                           size_t *length) {
  const nk_specials *specials = &tokenizer->specials;
  size_t of_run = 0;
  uint32_t id = nk_specials_match(specials, &tokenizer->vocab, text->text, at, end, trusted, true, length);
  uint32_t run = nk_specials_run(specials, text->text, at, end, &of_run);
  if (run == NK_NONE || (id != NK_NONE && *length >= of_run)) return id;
  *length = of_run;
  return run;
}

/* The special token at `at`. A user-defined one may run across spans, yet not over the beginning of a control token, or
   text from outside could swallow the end of its own turn. */
static uint32_t special_at(const nk_tokenizer *tokenizer, joined *text, size_t at, size_t *length) {
  const nk_specials *specials = &tokenizer->specials;
  const nk_vocab *vocab = &tokenizer->vocab;
  size_t trusted = trusted_end(text, at), end = text->length;
  for (;;) {
    uint32_t id = longest_at(tokenizer, text, at, end, trusted, length);
    if (id == NK_NONE || nk_vocab_type(vocab, id) != NK_TOKEN_USER || at + *length <= text->end) return id;
    joined ahead = *text;
    size_t place = text->end, ignored;
    for (; place < at + *length; place++) {
      size_t until = trusted_end(&ahead, place);
      if (until > place &&
          nk_specials_match(specials, vocab, text->text, place, text->length, until, false, &ignored) != NK_NONE) {
        break;
      }
    }
    if (place == at + *length) return id;
    end = place; /* a shorter one may still fit before the control token */
  }
}

static nk_status encode_text(const nk_tokenizer *tokenizer, joined *text, bool add_special, nk_sink *sink,
                             nk_scratch *scratch, nk_error *error) {
  bool wants_bos = add_special && tokenizer->add_bos && tokenizer->bos != NK_NONE;
  bool search = tokenizer->specials.n_user > 0;
  for (size_t i = 0; i < text->n_spans; i++) search = search || text->spans[i].parse_special;
  size_t begin = 0, length = 0;
  for (size_t at = 0; search && at < text->length;) {
    const uint32_t *first = tokenizer->specials.first + text->text[at];
    bool none = first[0] == first[1] && !(text->text[at] == 0xE2 && tokenizer->specials.longest_run > 0);
    uint32_t id = none ? NK_NONE : special_at(tokenizer, text, at, &length);
    if (id == NK_NONE) {
      at++;
      continue;
    }
    if (wants_bos && !(at == 0 && id == tokenizer->bos)) nk_sink_put(sink, tokenizer->bos);
    wants_bos = false;
    if (at > begin) {
      nk_status status = tokenizer->kind->encode(tokenizer, text->text + begin, at - begin, sink, scratch, error);
      if (status != NK_STATUS_OK) return status;
    }
    nk_sink_put(sink, id);
    at += length;
    if (tokenizer->vocab.types[id] & NK_TOKEN_STRIP) {
      while (at < text->length && (text->text[at] == ' ' || (text->text[at] >= '\t' && text->text[at] <= '\r'))) at++;
    }
    begin = at;
  }
  if (wants_bos) nk_sink_put(sink, tokenizer->bos);
  if (text->length > begin) {
    nk_status status = tokenizer->kind->encode(tokenizer, text->text + begin, text->length - begin, sink, scratch, error);
    if (status != NK_STATUS_OK) return status;
  }
  if (add_special && tokenizer->add_eos && tokenizer->eos != NK_NONE) nk_sink_put(sink, tokenizer->eos);
  return NK_STATUS_OK;
}

nk_status nk_tokenizer_encode(const nk_tokenizer *tokenizer, const nk_span *spans, size_t n_spans, bool add_special,
                              int32_t *ids, size_t capacity, size_t *count, nk_error *error) {
  if (count == NULL) return nk_fail(error, NK_STATUS_DATA, "nk_tokenizer_encode has no place for the count");
  *count = 0;
  if (tokenizer == NULL || (spans == NULL && n_spans > 0) || (ids == NULL && capacity > 0)) {
    return nk_fail(error, NK_STATUS_DATA, "nk_tokenizer_encode was called without a tokenizer, spans or a place for ids");
  }
  size_t length = 0;
  for (size_t i = 0; i < n_spans; i++) {
    if (spans[i].bytes == NULL && spans[i].length > 0) return nk_fail(error, NK_STATUS_DATA, "span %zu has no text", i);
    if (spans[i].length > NK_TOKENIZER_MAX_TEXT - length) {
      return nk_fail_hint(error, NK_STATUS_DATA, "Tokenize it in parts.", "the text has more than %u bytes",
                          NK_TOKENIZER_MAX_TEXT);
    }
    length += spans[i].length;
  }
  static const nk_span nothing = {"", 0, false};
  if (n_spans == 0) {
    spans = &nothing;
    n_spans = 1;
  }
  joined text = {.length = length, .spans = spans, .n_spans = n_spans, .end = spans[0].length};
  uint8_t *copy = NULL;
  if (n_spans == 1) {
    text.text = (const uint8_t *)spans[0].bytes;
  } else {
    copy = malloc(length == 0 ? 1 : length);
    if (copy == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to tokenize %zu bytes of text", length);
    size_t at = 0;
    for (size_t i = 0; i < n_spans; i++) {
      if (spans[i].length > 0) memcpy(copy + at, spans[i].bytes, spans[i].length);
      at += spans[i].length;
    }
    text.text = copy;
  }
  nk_sink sink = {ids, capacity, 0};
  nk_scratch scratch = {0};
  nk_status status = encode_text(tokenizer, &text, add_special, &sink, &scratch, error);
  free(scratch.codes.memory);
  free(scratch.more.memory);
  free(scratch.work.memory);
  free(scratch.word.memory);
  free(copy);
  if (status != NK_STATUS_OK) return status;
  *count = sink.count;
  if (sink.count > capacity) {
    return nk_fail(error, NK_STATUS_DATA, "the text has %zu tokens, more than the %zu that fit", sink.count, capacity);
  }
  return NK_STATUS_OK;
}

/* ---- Facts ----------------------------------------------------------------------------------------------------- */

static bool has(const nk_tokenizer *tokenizer, int32_t id) {
  return tokenizer != NULL && id >= 0 && (uint32_t)id < tokenizer->vocab.n;
}

nk_text nk_tokenizer_raw(const nk_tokenizer *tokenizer, int32_t id) {
  return has(tokenizer, id) ? nk_vocab_text(&tokenizer->vocab, (uint32_t)id) : (nk_text){NULL, 0};
}

size_t nk_tokenizer_piece(const nk_tokenizer *tokenizer, int32_t id, bool special, char *out, size_t capacity) {
  if (!has(tokenizer, id)) return 0;
  if (out == NULL) capacity = 0;
  unsigned type = nk_vocab_type(&tokenizer->vocab, (uint32_t)id);
  if (type != NK_TOKEN_CONTROL && type != NK_TOKEN_UNKNOWN && type != NK_TOKEN_USER) {
    return tokenizer->kind->piece(tokenizer, (uint32_t)id, out, capacity);
  }
  if (type != NK_TOKEN_USER && !special) return 0;
  nk_text text = nk_vocab_text(&tokenizer->vocab, (uint32_t)id);
  size_t fits = text.length < capacity ? text.length : capacity;
  if (fits > 0) memcpy(out, text.bytes, fits);
  return text.length;
}

uint32_t nk_tokenizer_vocab(const nk_tokenizer *tokenizer) { return tokenizer == NULL ? 0 : tokenizer->vocab.n; }

bool nk_tokenizer_is_control(const nk_tokenizer *tokenizer, int32_t id) {
  return has(tokenizer, id) && nk_vocab_type(&tokenizer->vocab, (uint32_t)id) == NK_TOKEN_CONTROL;
}

bool nk_tokenizer_is_end(const nk_tokenizer *tokenizer, int32_t id) {
  return has(tokenizer, id) && (tokenizer->vocab.types[id] & NK_TOKEN_END) != 0;
}

int32_t nk_tokenizer_bos(const nk_tokenizer *tokenizer) {
  return tokenizer == NULL || tokenizer->bos == NK_NONE ? -1 : (int32_t)tokenizer->bos;
}

int32_t nk_tokenizer_eos(const nk_tokenizer *tokenizer) {
  return tokenizer == NULL || tokenizer->eos == NK_NONE ? -1 : (int32_t)tokenizer->eos;
}

bool nk_tokenizer_adds_bos(const nk_tokenizer *tokenizer) {
  return tokenizer != NULL && tokenizer->add_bos && tokenizer->bos != NK_NONE;
}

const char *nk_tokenizer_name(const nk_tokenizer *tokenizer) { return tokenizer == NULL ? "" : tokenizer->name; }
