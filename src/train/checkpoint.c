/* checkpoint.c: see checkpoint.h. */
#include "train/checkpoint.h"

#include <math.h>
#include <string.h>

#include "core/cursor.h"
#include "core/sha256.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays are written as they lie in memory: little-endian"
#endif

#define HEADER_BYTES 16u
#define SECTION_BYTES 16u
#define DIGEST_BYTES 32u

static const uint8_t magic[8] = {'N', 'O', 'O', 'K', 'T', 'R', 'N', 'G'};

/* Memory layout is file layout: no padding. */
_Static_assert(sizeof(nk_train_progress) == 9 * 8, "nk_train_progress");
_Static_assert(sizeof(nk_loss_record) == 4 * 8, "nk_loss_record");
_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754");

typedef enum section_kind {
  KERN, MODL, DATA, HELD, OPTS, PROG, VALS, MOM1, MOM2, BEST, LOSS, EVAL, SECTIONS
} section_kind;

static const struct {
  char tag[5];
  const char *what; /* for sentences */
} kinds[SECTIONS] = {
    [KERN] = {"KERN", "kernel variant"},     [MODL] = {"MODL", "model hash"},
    [DATA] = {"DATA", "examples' hash"},     [HELD] = {"HELD", "held-out examples' hash"},
    [OPTS] = {"OPTS", "options"},            [PROG] = {"PROG", "progress"},
    [VALS] = {"VALS", "values"},             [MOM1] = {"MOM1", "first moments"},
    [MOM2] = {"MOM2", "second moments"},     [BEST] = {"BEST", "best values"},
    [LOSS] = {"LOSS", "step losses"}, [EVAL] = {"EVAL", "held-out losses"},
};

typedef struct section {
  const void *bytes;
  uint64_t length;
} section;

/* ---- What both ways check ------------------------------------------------------------------------------------------ */

static nk_status check_floats(const void *floats, uint64_t n, bool negative, const char *what, nk_error *error) {
  const uint8_t *at = floats;
  for (uint64_t i = 0; i < n; i++) {
    float value;
    memcpy(&value, at + 4 * i, sizeof value);
    if (isfinite(value) && (negative || !(value < 0))) continue;
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's %s hold %s at place %llu", what,
                   isfinite(value) ? "a negative number" : isnan(value) ? "NaN" : "infinity", (unsigned long long)i);
  }
  return NK_STATUS_OK;
}

static nk_status check_records(const void *records, uint64_t n, const char *what, nk_error *error) {
  const uint8_t *at = records;
  uint64_t before = 0;
  for (uint64_t i = 0; i < n; i++) {
    nk_loss_record record;
    memcpy(&record, at + sizeof record * i, sizeof record);
    if (!isfinite(record.loss) || !isfinite(record.norm) || !isfinite(record.rate)) {
      return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's %s hold a number that is not finite at place %llu", what,
                     (unsigned long long)i);
    }
    if (record.step < before) {
      return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's %s go back from step %llu to %llu", what,
                     (unsigned long long)before, (unsigned long long)record.step);
    }
    before = record.step;
  }
  return NK_STATUS_OK;
}

static nk_status check_progress(const nk_checkpoint *c, nk_error *error) {
  const nk_train_progress *p = &c->progress;
  bool no_best = c->best == NULL;
  if (!isfinite(p->best_loss) || !isfinite(p->seconds) || p->seconds < 0)
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's progress holds a loss or a time that cannot be");
  if (p->best_step > p->step || (no_best && (p->best_step != 0 || p->best_loss < 0 || p->best_loss > 0)))
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint tells of a best held-out loss that it cannot have");
  if (p->position > p->examples || p->epoch > p->examples || p->step > p->examples)
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's step, epoch or position is beyond its count of examples");
  return NK_STATUS_OK;
}

static bool printable(const char *text) {
  for (; *text != '\0'; text++) {
    if (*text < 0x20 || *text > 0x7e) return false;
  }
  return true;
}

static nk_status check(const nk_checkpoint *c, nk_error *error) {
  if (c->variant[0] == '\0' || !printable(c->variant))
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's kernel variant has no printable name");
  if (c->n_values == 0) return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint holds no values");
  nk_status status = check_progress(c, error);
  if (status == NK_STATUS_OK) status = check_floats(c->values, c->n_values, true, kinds[VALS].what, error);
  if (status == NK_STATUS_OK) status = check_floats(c->m, c->n_values, true, kinds[MOM1].what, error);
  if (status == NK_STATUS_OK) status = check_floats(c->v, c->n_values, false, kinds[MOM2].what, error);
  if (status == NK_STATUS_OK && c->best != NULL)
    status = check_floats(c->best, c->n_values, true, kinds[BEST].what, error);
  if (status == NK_STATUS_OK) status = check_records(c->losses, c->n_losses, kinds[LOSS].what, error);
  if (status == NK_STATUS_OK) status = check_records(c->evals, c->n_evals, kinds[EVAL].what, error);
  return status;
}

/* ---- Writing ------------------------------------------------------------------------------------------------------- */

static void sections_of(const nk_checkpoint *c, section out[SECTIONS]) {
  uint64_t values = c->n_values * sizeof(float);
  out[KERN] = (section){c->variant, (uint64_t)strlen(c->variant) + 1};
  out[MODL] = (section){c->model, sizeof c->model};
  out[DATA] = (section){c->data, sizeof c->data};
  out[HELD] = (section){c->held_out, sizeof c->held_out};
  out[OPTS] = (section){c->options, (uint64_t)strlen(c->options) + 1};
  out[PROG] = (section){&c->progress, sizeof c->progress};
  out[VALS] = (section){c->values, values};
  out[MOM1] = (section){c->m, values};
  out[MOM2] = (section){c->v, values};
  out[BEST] = (section){c->best, c->best == NULL ? 0 : values};
  out[LOSS] = (section){c->losses, c->n_losses * sizeof(nk_loss_record)};
  out[EVAL] = (section){c->evals, c->n_evals * sizeof(nk_loss_record)};
}

static uint64_t padded(uint64_t length) { return (length + 7) / 8 * 8; }

uint64_t nk_checkpoint_bytes(const nk_checkpoint *c) {
  if (c->n_values > NK_CHECKPOINT_MAX_VALUES || c->n_losses > NK_CHECKPOINT_MAX_RECORDS ||
      c->n_evals > NK_CHECKPOINT_MAX_RECORDS || strlen(c->variant) >= NK_CHECKPOINT_VARIANT_BYTES ||
      strlen(c->options) >= NK_CHECKPOINT_MAX_OPTIONS)
    return 0;
  section sections[SECTIONS];
  sections_of(c, sections);
  uint64_t bytes = HEADER_BYTES + DIGEST_BYTES;
  for (size_t i = 0; i < SECTIONS; i++) bytes += SECTION_BYTES + padded(sections[i].length);
  return bytes;
}

static uint8_t *put(uint8_t *out, const void *bytes, uint64_t n) {
  if (n > 0) memcpy(out, bytes, (size_t)n);
  return out + n;
}

static uint8_t *put_number(uint8_t *out, uint64_t number, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) out[i] = (uint8_t)(number >> (8 * i));
  return out + bytes;
}

nk_status nk_checkpoint_write(const nk_checkpoint *c, uint8_t *out, uint64_t size, nk_error *error) {
  uint64_t bytes = nk_checkpoint_bytes(c);
  if (bytes == 0 || bytes != size)
    return nk_fail(error, NK_STATUS_INTERNAL, "a checkpoint of %llu bytes has room for %llu", (unsigned long long)bytes,
                   (unsigned long long)size);
  nk_status status = check(c, error);
  if (status != NK_STATUS_OK) return status;
  section sections[SECTIONS];
  sections_of(c, sections);
  uint8_t *at = put(out, magic, sizeof magic);
  at = put_number(at, NK_CHECKPOINT_VERSION, 4);
  at = put_number(at, 0, 4);
  for (size_t i = 0; i < SECTIONS; i++) {
    at = put(at, kinds[i].tag, 4);
    at = put_number(at, 0, 4);
    at = put_number(at, sections[i].length, 8);
    at = put(at, sections[i].bytes, sections[i].length);
    at = put_number(at, 0, (uint32_t)(padded(sections[i].length) - sections[i].length));
  }
  nk_sha256 hash;
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, out, (size_t)(at - out));
  nk_sha256_final(&hash, at);
  return NK_STATUS_OK;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

static nk_status check_envelope(nk_cursor *cursor, nk_error *error) {
  const uint8_t *start = nk_cursor_bytes(cursor, sizeof magic);
  if (start == NULL || memcmp(start, magic, sizeof magic) != 0)
    return nk_fail(error, NK_STATUS_FORMAT, "the file is no checkpoint of a training: it does not begin with NOOKTRNG");
  uint32_t version, zero;
  if (!nk_cursor_u32(cursor, &version) || !nk_cursor_u32(cursor, &zero) || nk_cursor_left(cursor) < DIGEST_BYTES)
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint is cut off after %llu bytes",
                   (unsigned long long)cursor->length);
  if (version != NK_CHECKPOINT_VERSION) {
    return nk_fail_hint(error, NK_STATUS_UNSUPPORTED, "Go on with the version of Nook that wrote it.",
                        "the checkpoint has version %u of its format; this build reads version %u", version,
                        NK_CHECKPOINT_VERSION);
  }
  cursor->length -= DIGEST_BYTES;
  nk_sha256 hash;
  uint8_t digest[DIGEST_BYTES];
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, cursor->data, (size_t)cursor->length);
  nk_sha256_final(&hash, digest);
  if (memcmp(digest, cursor->data + cursor->length, DIGEST_BYTES) != 0) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Go on from an earlier checkpoint.",
                        "the checkpoint is damaged or cut off: its bytes do not have the hash at its end");
  }
  if (zero != 0) return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's header holds %u where 0 stands", zero);
  return NK_STATUS_OK;
}

static nk_status read_section(nk_cursor *cursor, section_kind kind, section *out, nk_error *error) {
  const uint8_t *tag = nk_cursor_bytes(cursor, 4);
  uint32_t zero;
  uint64_t length;
  if (tag == NULL || memcmp(tag, kinds[kind].tag, 4) != 0 || !nk_cursor_u32(cursor, &zero) || zero != 0 ||
      !nk_cursor_u64(cursor, &length))
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint has no section %s (%s) at byte %llu", kinds[kind].tag,
                   kinds[kind].what, (unsigned long long)cursor->offset);
  const uint8_t *bytes = nk_cursor_bytes(cursor, length);
  if (bytes == NULL) {
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's section %s (%s) claims %llu bytes, but %llu are left",
                   kinds[kind].tag, kinds[kind].what, (unsigned long long)length,
                   (unsigned long long)nk_cursor_left(cursor));
  }
  uint32_t padding = (uint32_t)((8 - length % 8) % 8);
  const uint8_t *zeros = nk_cursor_bytes(cursor, padding);
  bool clean = zeros != NULL;
  for (uint32_t i = 0; clean && i < padding; i++) clean = zeros[i] == 0;
  if (!clean) {
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's section %s (%s) is not followed by zeros", kinds[kind].tag,
                   kinds[kind].what);
  }
  *out = (section){bytes, length};
  return NK_STATUS_OK;
}

static nk_status wrong_size(section_kind kind, uint64_t length, nk_error *error) {
  return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint's section %s (%s) has %llu bytes, which cannot be",
                 kinds[kind].tag, kinds[kind].what, (unsigned long long)length);
}

/* A text of up to `limit` bytes whose only NUL is its last byte. */
static bool is_text(const section *s, uint64_t limit) {
  if (s->length == 0 || s->length > limit) return false;
  const char *text = s->bytes;
  return memchr(text, '\0', (size_t)s->length) == text + s->length - 1;
}

static nk_status check_lengths(const section s[SECTIONS], nk_error *error) {
  if (!is_text(&s[KERN], NK_CHECKPOINT_VARIANT_BYTES)) return wrong_size(KERN, s[KERN].length, error);
  if (!is_text(&s[OPTS], NK_CHECKPOINT_MAX_OPTIONS)) return wrong_size(OPTS, s[OPTS].length, error);
  for (section_kind kind = MODL; kind <= HELD; kind++) {
    if (s[kind].length != DIGEST_BYTES) return wrong_size(kind, s[kind].length, error);
  }
  if (s[PROG].length != sizeof(nk_train_progress)) return wrong_size(PROG, s[PROG].length, error);
  uint64_t values = s[VALS].length;
  if (values % sizeof(float) != 0 || values / sizeof(float) > NK_CHECKPOINT_MAX_VALUES)
    return wrong_size(VALS, values, error);
  for (section_kind kind = MOM1; kind <= BEST; kind++) {
    bool none = kind == BEST && s[kind].length == 0;
    if (s[kind].length != values && !none) return wrong_size(kind, s[kind].length, error);
  }
  for (section_kind kind = LOSS; kind <= EVAL; kind++) {
    uint64_t length = s[kind].length;
    if (length % sizeof(nk_loss_record) != 0 || length / sizeof(nk_loss_record) > NK_CHECKPOINT_MAX_RECORDS)
      return wrong_size(kind, length, error);
  }
  return NK_STATUS_OK;
}

nk_status nk_checkpoint_read(nk_checkpoint *checkpoint, const uint8_t *bytes, uint64_t n, nk_error *error) {
  nk_cursor cursor = nk_cursor_over(bytes, n);
  nk_status status = check_envelope(&cursor, error);
  section s[SECTIONS];
  for (section_kind kind = KERN; kind < SECTIONS && status == NK_STATUS_OK; kind++)
    status = read_section(&cursor, kind, &s[kind], error);
  if (status != NK_STATUS_OK) return status;
  if (nk_cursor_left(&cursor) != 0) {
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint goes on for %llu bytes after its last section",
                   (unsigned long long)nk_cursor_left(&cursor));
  }
  status = check_lengths(s, error);
  if (status != NK_STATUS_OK) return status;
  nk_checkpoint read = {
      .variant = s[KERN].bytes,
      .options = s[OPTS].bytes,
      .n_values = s[VALS].length / sizeof(float),
      .n_losses = s[LOSS].length / sizeof(nk_loss_record),
      .n_evals = s[EVAL].length / sizeof(nk_loss_record),
      .values = s[VALS].bytes,
      .m = s[MOM1].bytes,
      .v = s[MOM2].bytes,
      .best = s[BEST].length == 0 ? NULL : s[BEST].bytes,
      .losses = s[LOSS].bytes,
      .evals = s[EVAL].bytes,
  };
  memcpy(read.model, s[MODL].bytes, sizeof read.model);
  memcpy(read.data, s[DATA].bytes, sizeof read.data);
  memcpy(read.held_out, s[HELD].bytes, sizeof read.held_out);
  memcpy(&read.progress, s[PROG].bytes, sizeof read.progress);
  status = check(&read, error);
  if (status == NK_STATUS_OK) *checkpoint = read;
  return status;
}

/* ---- Fitting ------------------------------------------------------------------------------------------------------- */

typedef struct hex {
  char text[2 * DIGEST_BYTES + 1];
} hex;

static hex hex_of(const uint8_t digest[DIGEST_BYTES]) {
  static const char digits[] = "0123456789abcdef";
  hex out = {{0}};
  for (size_t i = 0; i < DIGEST_BYTES; i++) {
    out.text[2 * i] = digits[digest[i] >> 4];
    out.text[2 * i + 1] = digits[digest[i] & 15];
  }
  return out;
}

static nk_status other_data(const char *what, const uint8_t *there, const uint8_t *here, nk_error *error) {
  return nk_fail_hint(error, NK_STATUS_DATA, "Bring the same examples, in their order and with the same context size.",
                      "the checkpoint was made with other %s: theirs have the hash %s, these %s", what, hex_of(there).text,
                      hex_of(here).text);
}

nk_status nk_checkpoint_match(const nk_checkpoint *c, const nk_checkpoint_here *here, bool *other_variant,
                              nk_error *error) {
  *other_variant = false;
  if (memcmp(c->model, here->model, DIGEST_BYTES) != 0) {
    return nk_fail_hint(error, NK_STATUS_ADAPTER_MISMATCH, "Load the model that the training began with.",
                        "the checkpoint belongs to the model with the hash %s; the loaded one has %s",
                        hex_of(c->model).text, hex_of(here->model).text);
  }
  if (memcmp(c->data, here->data, DIGEST_BYTES) != 0) return other_data("examples", c->data, here->data, error);
  if (memcmp(c->held_out, here->held_out, DIGEST_BYTES) != 0)
    return other_data("held-out examples", c->held_out, here->held_out, error);
  if (c->n_values != here->n_values) {
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint holds %llu values; its options make an adapter of %llu",
                   (unsigned long long)c->n_values, (unsigned long long)here->n_values);
  }
  if (c->progress.position > here->n_examples) {
    return nk_fail(error, NK_STATUS_FORMAT, "the checkpoint stands after %llu examples of an epoch that has %u",
                   (unsigned long long)c->progress.position, here->n_examples);
  }
  *other_variant = strcmp(c->variant, here->variant) != 0;
  return NK_STATUS_OK;
}
