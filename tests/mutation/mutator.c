/* mutator.c: see mutator.h. */
#include "mutator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/types.h"

/* ---- Chance: SplitMix64 (Steele, Lea, Flood 2014) ---------------------------------------------------------------- */

static uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

static uint64_t draw(uint64_t *state) { return mix(*state += 0x9E3779B97F4A7C15u); }
static uint64_t below(uint64_t *state, uint64_t n) { return n == 0 ? 0 : draw(state) % n; }

uint64_t mutator_seed(uint64_t seed, const char *name, uint64_t number) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (; *name != '\0'; name++) hash = (hash ^ (uint8_t)*name) * 0x100000001B3u;
  return mix(mix(seed ^ hash) + number);
}

/* ---- Anatomy ----------------------------------------------------------------------------------------------------- */

typedef struct walker {
  anatomy *a;
  uint64_t at;
  uint32_t owner;
  bool sound;
} walker;

static uint64_t number_at(const uint8_t *bytes, uint32_t n) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < n; i++) value |= (uint64_t)bytes[i] << 8 * i;
  return value;
}

/* Notes a field of n bytes and passes it. */
static void note(walker *w, field_kind kind, uint64_t n) {
  anatomy *a = w->a;
  if (!w->sound || n > a->file_bytes - w->at || n > UINT32_MAX) {
    w->sound = false;
    return;
  }
  if (a->n_fields == a->room) {
    uint32_t room = a->room == 0 ? 1024 : 2 * a->room;
    field *grown = realloc(a->fields, room * sizeof *grown);
    if (grown == NULL) {
      w->sound = false;
      return;
    }
    a->fields = grown;
    a->room = room;
  }
  a->fields[a->n_fields++] = (field){kind, w->owner, w->at, (uint32_t)n};
  w->at += n;
}

/* Notes a number of n bytes and gives its value. */
static uint64_t note_number(walker *w, field_kind kind, uint32_t n) {
  uint64_t at = w->at;
  note(w, kind, n);
  return w->sound ? number_at(w->a->bytes + at, n) : 0;
}

static void note_string(walker *w, field_kind length, field_kind bytes) { note(w, bytes, note_number(w, length, 8)); }

static void note_value(walker *w, uint64_t type) {
  static const uint32_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  if (type == 8) {
    note_string(w, FIELD_LENGTH, FIELD_STRING);
  } else if (type < sizeof sizes / sizeof *sizes && type != 9) {
    note(w, type == 6 || type == 12 ? FIELD_FLOAT : type == 7 ? FIELD_BOOL : FIELD_NUMBER, sizes[type]);
  } else {
    w->sound = false;
  }
}

static void note_pair(walker *w) {
  note_string(w, FIELD_KEY_LENGTH, FIELD_KEY);
  uint64_t type = note_number(w, FIELD_TYPE, 4);
  if (type != 9) {
    note_value(w, type);
    return;
  }
  uint64_t element = note_number(w, FIELD_ELEMENT_TYPE, 4), count = note_number(w, FIELD_COUNT, 8);
  for (uint64_t i = 0; i < count && w->sound; i++) note_value(w, element);
}

static void note_tensor(walker *w, uint64_t *offset, uint64_t *bytes) {
  note_string(w, FIELD_NAME_LENGTH, FIELD_NAME);
  uint64_t n = note_number(w, FIELD_DIMENSIONS, 4), elements = 1;
  for (uint64_t i = 0; i < n && w->sound; i++) elements *= note_number(w, FIELD_DIMENSION, 8);
  nk_gguf_size size;
  uint64_t type = note_number(w, FIELD_TENSOR_TYPE, 4);
  *offset = note_number(w, FIELD_OFFSET, 8);
  if (!nk_gguf_type_size((uint32_t)type, &size)) {
    w->sound = false;
    return;
  }
  *bytes = elements / size.block * size.bytes;
}

static bool sort_fields(anatomy *a) {
  a->of_kind = malloc(((size_t)a->n_fields + 1) * sizeof *a->of_kind);
  if (a->of_kind == NULL) return false;
  uint32_t at = 0;
  for (uint32_t kind = 0; kind < FIELD_KINDS; kind++) {
    a->first[kind] = at;
    for (uint32_t i = 0; i < a->n_fields; i++) {
      if (a->fields[i].kind == (field_kind)kind && a->fields[i].bytes > 0) a->of_kind[at++] = i;
    }
  }
  a->first[FIELD_KINDS] = at;
  return true;
}

bool anatomy_open(anatomy *a, const uint8_t *bytes, uint64_t file_bytes, const char **why) {
  *a = (anatomy){.bytes = bytes, .file_bytes = file_bytes};
  walker w = {.a = a, .sound = true};
  *why = "it is not a sound GGUF file of version 2 or 3";
  note(&w, FIELD_MAGIC, 4);
  uint64_t version = note_number(&w, FIELD_VERSION, 4), tensors = note_number(&w, FIELD_TENSORS, 8);
  uint64_t pairs = note_number(&w, FIELD_PAIRS, 8);
  if (!w.sound || memcmp(bytes, "GGUF", 4) != 0 || version < 2 || version > 3 || tensors > 65536 || pairs > 65536)
    return false;
  a->pairs = calloc((size_t)pairs + 1, sizeof *a->pairs);
  a->tensors = calloc((size_t)tensors + 1, sizeof *a->tensors);
  if (a->pairs == NULL || a->tensors == NULL) return false;
  for (a->n_pairs = 0; a->n_pairs < pairs && w.sound; a->n_pairs++) {
    w.owner = a->n_pairs;
    a->pairs[a->n_pairs].begin = w.at;
    note_pair(&w);
    a->pairs[a->n_pairs].end = w.at;
  }
  for (a->n_tensors = 0; a->n_tensors < tensors && w.sound; a->n_tensors++) {
    uint64_t offset = 0, size = 0;
    w.owner = a->n_tensors;
    a->tensors[a->n_tensors].begin = w.at;
    note_tensor(&w, &offset, &size);
    a->tensors[a->n_tensors].end = w.at;
    if (offset + size > a->data_end) a->data_end = offset + size;
  }
  if (!w.sound) return false;
  a->table_end = w.at;
  a->header_bytes = (w.at + 31) / 32 * 32; /* no file of ours has another alignment */
  if (a->header_bytes > file_bytes) a->header_bytes = file_bytes;
  note(&w, FIELD_PADDING, a->header_bytes - a->table_end);
  a->data_end += a->header_bytes;
  *why = "memory is out, or its tensors do not fit it";
  return w.sound && a->data_end <= file_bytes && sort_fields(a);
}

void anatomy_close(anatomy *a) {
  free(a->fields);
  free(a->of_kind);
  free(a->pairs);
  free(a->tensors);
  *a = (anatomy){0};
}

/* ---- Splices ----------------------------------------------------------------------------------------------------- */

/* Adds one where it touches no other; false: it did not find its place. */
static bool put(mutation *m, uint64_t offset, uint32_t removed, const void *bytes, uint32_t added) {
  if (m->n == MUTATOR_SPLICES || added > MUTATOR_POOL - m->used) return false;
  uint32_t at = 0;
  while (at < m->n && m->splices[at].offset < offset) at++;
  if (at > 0 && m->splices[at - 1].offset + m->splices[at - 1].removed > offset) return false;
  if (at < m->n && (offset + removed > m->splices[at].offset || m->splices[at].offset == offset)) return false;
  memmove(m->splices + at + 1, m->splices + at, (m->n - at) * sizeof *m->splices);
  m->splices[at] = (splice){offset, removed, added, m->used};
  if (added > 0) memcpy(m->pool + m->used, bytes, added);
  m->used += added;
  m->n++;
  return true;
}

static bool put_number(mutation *m, uint64_t offset, uint32_t bytes, uint64_t value) {
  uint8_t little[8];
  for (uint32_t i = 0; i < 8; i++) little[i] = (uint8_t)(value >> 8 * i);
  return put(m, offset, bytes, little, bytes);
}

#define SAY(m, ...)                                                                                       \
  do {                                                                                                    \
    size_t said_ = strlen((m)->what);                                                                     \
    (void)snprintf((m)->what + said_, sizeof (m)->what - said_, "%s", said_ > 0 ? "; " : "");             \
    said_ = strlen((m)->what);                                                                            \
    (void)snprintf((m)->what + said_, sizeof (m)->what - said_, __VA_ARGS__);                             \
  } while (0)

/* The padding is made to fit again, so that the tensors' data stand where the header says. */
static void pad(mutation *m, const anatomy *a) {
  uint64_t end = a->table_end;
  for (uint32_t i = 0; i < m->n; i++) {
    if (m->splices[i].offset + m->splices[i].removed > a->table_end) return;
    end = end + m->splices[i].added - m->splices[i].removed;
  }
  static const uint8_t zeros[32];
  (void)put(m, a->table_end, (uint32_t)(a->header_bytes - a->table_end), zeros, (uint32_t)((32 - end % 32) % 32));
}

uint8_t *mutator_apply(const mutation *m, const anatomy *a, uint64_t *length) {
  uint64_t total = a->header_bytes;
  for (uint32_t i = 0; i < m->n; i++) total = total + m->splices[i].added - m->splices[i].removed;
  *length = total;
  uint8_t *out = malloc(total == 0 ? 1 : (size_t)total);
  if (out == NULL) return NULL;
  uint64_t from = 0, to = 0;
  for (uint32_t i = 0; i <= m->n; i++) {
    uint64_t until = i < m->n ? m->splices[i].offset : a->header_bytes;
    memcpy(out + to, a->bytes + from, (size_t)(until - from));
    to += until - from;
    from = until;
    if (i == m->n) break;
    memcpy(out + to, m->pool + m->splices[i].at, m->splices[i].added);
    to += m->splices[i].added;
    from += m->splices[i].removed;
  }
  return out;
}

/* ---- Kinds of change --------------------------------------------------------------------------------------------- */

static const field *pick(const anatomy *a, uint64_t *state, field_kind kind) {
  uint32_t n = a->first[kind + 1] - a->first[kind];
  return n == 0 ? NULL : &a->fields[a->of_kind[a->first[kind] + below(state, n)]];
}

static uint64_t interesting(const anatomy *a, uint64_t *state, uint64_t old) {
  uint64_t power = (uint64_t)1 << below(state, 64);
  switch (below(state, 12)) {
    case 0: return 0;
    case 1: return UINT64_MAX - below(state, 3);
    case 2: return power;
    case 3: return power - 1;
    case 4: return power + 1;
    case 5: return old + 1;
    case 6: return old - 1;
    case 7: return old * 2;
    case 8: return old / 2;
    case 9: return a->file_bytes - below(state, 2) * a->header_bytes;
    case 10: return UINT64_MAX - old;
    default: return below(state, 300);
  }
}

static void flip_bits(mutation *m, const anatomy *a, uint64_t *state) {
  for (uint64_t left = 1 + below(state, 8); left > 0; left--) {
    uint64_t at = below(state, a->header_bytes);
    uint8_t byte = (uint8_t)(a->bytes[at] ^ 1u << below(state, 8));
    if (put(m, at, 1, &byte, 1)) SAY(m, "byte %llu is %02x", (unsigned long long)at, byte);
  }
}

static void change_number(mutation *m, const anatomy *a, uint64_t *state) {
  static const field_kind kinds[] = {FIELD_VERSION,   FIELD_TENSORS,      FIELD_PAIRS,       FIELD_KEY_LENGTH,
                                     FIELD_TYPE,      FIELD_ELEMENT_TYPE, FIELD_COUNT,       FIELD_NUMBER,
                                     FIELD_BOOL,      FIELD_LENGTH,       FIELD_NAME_LENGTH, FIELD_DIMENSIONS,
                                     FIELD_DIMENSION, FIELD_TENSOR_TYPE,  FIELD_OFFSET};
  const field *f = pick(a, state, kinds[below(state, sizeof kinds / sizeof *kinds)]);
  if (f == NULL) return;
  uint64_t value = interesting(a, state, number_at(a->bytes + f->offset, f->bytes));
  if (put_number(m, f->offset, f->bytes, value)) {
    SAY(m, "number %d of %u at %llu is %llu", (int)f->kind, f->owner, (unsigned long long)f->offset,
        (unsigned long long)value);
  }
}

/* A number or a float of the model's own keys, not one of the many of the tokenizer's arrays. */
static void change_size(mutation *m, const anatomy *a, uint64_t *state) {
  for (uint32_t tries = 0; tries < 50; tries++) {
    uint32_t pair = (uint32_t)below(state, a->n_pairs), i = 0;
    while (i < a->n_fields && !(a->fields[i].kind == FIELD_KEY && a->fields[i].owner == pair)) i++;
    if (i + 2 >= a->n_fields) continue;
    const field *f = &a->fields[i + 2]; /* after the key and its type */
    if (f->kind == FIELD_NUMBER) {
      uint64_t value = interesting(a, state, number_at(a->bytes + f->offset, f->bytes));
      if (put_number(m, f->offset, f->bytes, value)) SAY(m, "key %u is %llu", pair, (unsigned long long)value);
      return;
    }
    if (f->kind == FIELD_FLOAT && f->bytes == 4) {
      static const uint32_t floats[] = {0, 0x80000000u, 0x7fc00000u, 0x7f800000u, 0xff800000u, 1, 0x7f7fffffu, 0xbf800000u,
                                        0x3f800000u, 0x00800000u, 0x3f800001u, 0x4b800000u};
      uint32_t bits = floats[below(state, sizeof floats / sizeof *floats)];
      if (put_number(m, f->offset, 4, bits)) SAY(m, "key %u is the float %08x", pair, bits);
      return;
    }
  }
}

static void swap_numbers(mutation *m, const anatomy *a, uint64_t *state) {
  static const field_kind kinds[] = {FIELD_LENGTH, FIELD_KEY_LENGTH, FIELD_NAME_LENGTH, FIELD_DIMENSION, FIELD_OFFSET,
                                     FIELD_TENSOR_TYPE, FIELD_TYPE, FIELD_COUNT};
  field_kind kind = kinds[below(state, sizeof kinds / sizeof *kinds)];
  const field *x = pick(a, state, kind), *y = pick(a, state, kind);
  if (x == NULL || x == y) return;
  uint64_t of_x = number_at(a->bytes + x->offset, x->bytes), of_y = number_at(a->bytes + y->offset, y->bytes);
  if (put_number(m, x->offset, x->bytes, of_y) && put_number(m, y->offset, y->bytes, of_x)) {
    SAY(m, "the numbers at %llu and %llu change places", (unsigned long long)x->offset, (unsigned long long)y->offset);
  }
}

/* Some bytes of a name or a text become others; its length stays. */
static void change_text(mutation *m, const anatomy *a, uint64_t *state) {
  static const field_kind kinds[] = {FIELD_KEY, FIELD_NAME, FIELD_STRING};
  const field *f = pick(a, state, kinds[below(state, 3)]);
  if (f == NULL) return;
  for (uint64_t left = 1 + below(state, 4); left > 0; left--) {
    static const char likely[] = "\0 <>._0aZ\n\"\\%\xC3\xFF";
    uint64_t at = f->offset + below(state, f->bytes);
    uint8_t byte = below(state, 2) == 0 ? (uint8_t)draw(state) : (uint8_t)likely[below(state, sizeof likely - 1)];
    if (put(m, at, 1, &byte, 1)) SAY(m, "byte %llu of a text is %02x", (unsigned long long)at, byte);
  }
}

/* Another text of another length, its length told rightly. */
static void replace_text(mutation *m, const anatomy *a, uint64_t *state) {
  static const char *const texts[] = {
      "", "<0x-1>", "<0x100>", "<0xFF>", "<|im_end|>", "</s>", "<unk>", "llama", "gpt2", "bert", "smollm", "gpt-2",
      "\xE2\x96\x81", "\xFF\xFE", " ", "a b", "a", "{{ x", "linear", "yarn", "token_embd.weight", "blk.0.attn_q.weight",
      "blk.1023.attn_q.weight", "output.bias", "blk.-1.ffn_up.weight", "rope_freqs.weight", "general.architecture",
      "general.alignment", "llama.block_count", "tokenizer.ggml.tokens", "split.count"};
  static const field_kind kinds[] = {FIELD_KEY, FIELD_NAME, FIELD_STRING};
  const field *f = pick(a, state, kinds[below(state, 3)]);
  if (f == NULL) return;
  char text[600];
  uint32_t length;
  if (below(state, 5) == 0) {
    length = (uint32_t)below(state, sizeof text);
    memset(text, (int)(32 + below(state, 95)), length);
  } else {
    const char *chosen = texts[below(state, sizeof texts / sizeof *texts)];
    length = (uint32_t)strlen(chosen);
    memcpy(text, chosen, length);
  }
  uint8_t record[8 + sizeof text] = {0};
  for (uint32_t i = 0; i < 4; i++) record[i] = (uint8_t)(length >> 8 * i);
  memcpy(record + 8, text, length);
  if (put(m, f->offset - 8, 8 + f->bytes, record, 8 + length)) {
    SAY(m, "the text at %llu is \"%.*s\"", (unsigned long long)f->offset, (int)(length > 24 ? 24 : length), text);
  }
}

/* A whole key or tensor goes, or comes twice; the count is told rightly. */
static void move_entry(mutation *m, const anatomy *a, uint64_t *state) {
  bool tensor = below(state, 2) == 0;
  uint32_t n = tensor ? a->n_tensors : a->n_pairs;
  if (n == 0) return;
  uint32_t index = (uint32_t)below(state, n);
  const extent *e = tensor ? &a->tensors[index] : &a->pairs[index];
  bool twice = below(state, 3) == 0 && e->end - e->begin <= 1024;
  uint32_t size = (uint32_t)(e->end - e->begin);
  if (!put(m, twice ? e->end : e->begin, twice ? 0 : size, a->bytes + e->begin, twice ? size : 0)) return;
  (void)put_number(m, tensor ? 8 : 16, 8, twice ? n + 1 : n - 1);
  SAY(m, "%s %u %s", tensor ? "tensor" : "key", index, twice ? "comes twice" : "is gone");
}

void mutator_cut(mutation *m, const anatomy *a, uint64_t seed) {
  uint64_t state = seed;
  m->n = m->used = 0;
  m->cut = true;
  /* A third in the header, which is small in most files, a third near the end, where only the last tensor is hit. */
  uint64_t kind = below(&state, 3), tail = a->file_bytes < 512 ? a->file_bytes : 512;
  m->bytes = kind == 0   ? below(&state, a->header_bytes)
             : kind == 1 ? below(&state, a->file_bytes)
                         : a->file_bytes - 1 - below(&state, tail);
  (void)snprintf(m->what, sizeof m->what, "cut at %llu of %llu bytes", (unsigned long long)m->bytes,
                 (unsigned long long)a->file_bytes);
}

void mutator_change(mutation *m, const anatomy *a, uint64_t seed) {
  static void (*const kinds[])(mutation *, const anatomy *, uint64_t *) = {
      flip_bits,    change_number, change_number, change_number, change_size,  change_size, change_size,
      swap_numbers, change_text,   change_text,   replace_text,  replace_text, move_entry};
  uint64_t state = seed;
  m->n = m->used = 0;
  m->cut = false;
  m->what[0] = '\0';
  for (uint64_t left = below(&state, 3) == 0 ? 1 + below(&state, 4) : 1; left > 0 || m->n == 0;) {
    kinds[below(&state, sizeof kinds / sizeof *kinds)](m, a, &state);
    if (left > 0) left--;
  }
  if (below(&state, 8) != 0) pad(m, a);
  m->bytes = a->file_bytes;
  for (uint32_t i = 0; i < m->n; i++) m->bytes = m->bytes + m->splices[i].added - m->splices[i].removed;
}
