/* write.c: see write.h. Pairs and tensors grow in buffers of their own; finish joins them behind the counts. */
#include "gguf/write.h"

#include <stdlib.h>
#include <string.h>

#include "core/label.h"
#include "gguf/internal.h"
#include "gguf/types.h"

typedef struct buffer {
  uint8_t *bytes;
  size_t length, capacity;
} buffer;

struct nk_gguf_writer {
  buffer pairs, tensors, whole;
  buffer names; /* of keys, then of tensors (each with a letter before it), NUL-terminated, to find one that comes twice */
  uint64_t n_pairs, n_tensors, data_bytes;
  uint64_t texts_due; /* elements of the open array of texts */
  nk_status status;
  nk_error error;
};

nk_gguf_writer *nk_gguf_writer_create(void) { return calloc(1, sizeof(nk_gguf_writer)); }

void nk_gguf_writer_free(nk_gguf_writer *writer) {
  if (writer == NULL) return;
  free(writer->pairs.bytes);
  free(writer->tensors.bytes);
  free(writer->names.bytes);
  free(writer->whole.bytes);
  free(writer);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static bool ok(const nk_gguf_writer *writer) { return writer->status == NK_STATUS_OK; }

static void append(nk_gguf_writer *writer, buffer *out, const void *bytes, size_t length) {
  if (!ok(writer) || length == 0) return;
  if (length > NK_GGUF_MAX_HEADER - out->length) {
    writer->status =
        nk_fail(&writer->error, NK_STATUS_UNSUPPORTED, "the GGUF header would be larger than %u bytes", NK_GGUF_MAX_HEADER);
    return;
  }
  if (length > out->capacity - out->length) {
    size_t capacity = out->capacity + out->capacity / 2; /* at most 1.5 × 256 MiB */
    if (capacity < out->length + length) capacity = out->length + length;
    if (capacity < 4096) capacity = 4096;
    uint8_t *grown = realloc(out->bytes, capacity);
    if (grown == NULL) {
      writer->status = nk_fail(&writer->error, NK_STATUS_MEMORY, "no memory for the GGUF header");
      return;
    }
    out->bytes = grown;
    out->capacity = capacity;
  }
  memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
}

/* The low `bytes` bytes of the value. */
static void append_integer(nk_gguf_writer *writer, buffer *out, uint64_t value, unsigned bytes) {
  uint8_t little[8];
  for (unsigned i = 0; i < bytes; i++) little[i] = (uint8_t)(value >> (8 * i));
  append(writer, out, little, bytes);
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static void append_name(nk_gguf_writer *writer, buffer *out, const char *name, char kind) {
  size_t length = strlen(name);
  if (ok(writer) && (length == 0 || length > NK_GGUF_MAX_NAME)) {
    writer->status = nk_fail(&writer->error, NK_STATUS_FORMAT, "the name \"%s\" has %zu bytes; GGUF allows 1 to %u",
                             nk_label_of(name, length).text, length, NK_GGUF_MAX_NAME);
  }
  append(writer, &writer->names, &kind, 1);
  append(writer, &writer->names, name, length + 1);
  append_integer(writer, out, length, 8);
  append(writer, out, name, length);
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

static void open_pair(nk_gguf_writer *writer, const char *key, nk_gguf_type type) {
  if (ok(writer) && writer->texts_due != 0) {
    writer->status = nk_fail(&writer->error, NK_STATUS_INTERNAL, "the key %s follows an array that lacks texts", key);
  }
  append_name(writer, &writer->pairs, key, 'k');
  append_integer(writer, &writer->pairs, (uint64_t)type, 4);
  writer->n_pairs++;
}

void nk_gguf_put_u32(nk_gguf_writer *writer, const char *key, uint32_t value) {
  open_pair(writer, key, NK_GGUF_U32);
  append_integer(writer, &writer->pairs, value, 4);
}

void nk_gguf_put_f32(nk_gguf_writer *writer, const char *key, float value) {
  open_pair(writer, key, NK_GGUF_F32);
  append_integer(writer, &writer->pairs, bits_of(value), 4);
}

void nk_gguf_put_bool(nk_gguf_writer *writer, const char *key, bool value) {
  open_pair(writer, key, NK_GGUF_BOOL);
  append_integer(writer, &writer->pairs, value, 1);
}

static void append_text(nk_gguf_writer *writer, const char *a, size_t n_a, const char *b, size_t n_b) {
  if (ok(writer) && (n_a > NK_GGUF_MAX_STRING || n_b > NK_GGUF_MAX_STRING - n_a)) {
    writer->status =
        nk_fail(&writer->error, NK_STATUS_UNSUPPORTED, "a text of the header has more than %u bytes", NK_GGUF_MAX_STRING);
    return;
  }
  append_integer(writer, &writer->pairs, (uint64_t)n_a + n_b, 8);
  append(writer, &writer->pairs, a, n_a);
  append(writer, &writer->pairs, b, n_b);
}

void nk_gguf_put_text(nk_gguf_writer *writer, const char *key, const char *text, size_t length) {
  open_pair(writer, key, NK_GGUF_STRING);
  append_text(writer, text, length, NULL, 0);
}

static void open_array(nk_gguf_writer *writer, const char *key, nk_gguf_type element_type, uint64_t count) {
  open_pair(writer, key, NK_GGUF_ARRAY);
  append_integer(writer, &writer->pairs, (uint64_t)element_type, 4);
  append_integer(writer, &writer->pairs, count, 8);
}

void nk_gguf_put_numbers(nk_gguf_writer *writer, const char *key, nk_gguf_type element_type, const void *values,
                         uint64_t count) {
  open_array(writer, key, element_type, count);
  uint32_t bytes = nk_gguf_element_bytes(element_type);
  if (ok(writer) && (bytes == 0 || bytes == 2 || bytes == 8)) {
    writer->status = nk_fail(&writer->error, NK_STATUS_INTERNAL, "the key %s is an array of another type", key);
  }
  for (uint64_t i = 0; i < count && ok(writer); i++) {
    uint32_t bits = 0;
    if (bytes == 1) {
      bits = ((const uint8_t *)values)[i];
    } else {
      memcpy(&bits, (const uint8_t *)values + 4 * i, 4); /* the host's order in, little-endian out */
    }
    append_integer(writer, &writer->pairs, bits, bytes);
  }
}

void nk_gguf_put_texts(nk_gguf_writer *writer, const char *key, uint64_t count) {
  open_array(writer, key, NK_GGUF_STRING, count);
  writer->texts_due = count;
}

void nk_gguf_put_element(nk_gguf_writer *writer, const char *a, size_t n_a, const char *b, size_t n_b) {
  if (ok(writer) && writer->texts_due == 0) {
    writer->status = nk_fail(&writer->error, NK_STATUS_INTERNAL, "an array of texts has one too many");
  }
  append_text(writer, a, n_a, b, n_b);
  writer->texts_due--;
}

/* ---- Tensors ----------------------------------------------------------------------------------------------------- */

uint32_t nk_gguf_padding(uint64_t bytes) {
  return (uint32_t)((NK_GGUF_WRITE_ALIGNMENT - bytes % NK_GGUF_WRITE_ALIGNMENT) % NK_GGUF_WRITE_ALIGNMENT);
}

uint64_t nk_gguf_put_tensor(nk_gguf_writer *writer, const char *name, uint32_t n_dimensions, const uint64_t *dimensions,
                            uint32_t type) {
  nk_gguf_size size;
  uint64_t blocks = 1;
  bool fits = n_dimensions >= 1 && n_dimensions <= NK_GGUF_MAX_DIMENSIONS && nk_gguf_type_size(type, &size) &&
              dimensions[0] % size.block == 0;
  for (uint32_t i = 0; fits && i < n_dimensions; i++) {
    uint64_t n = i == 0 ? dimensions[0] / size.block : dimensions[i];
    fits =
        n > 0 && dimensions[i] < NK_GGUF_MAX_DIMENSION && blocks <= (1ull << 48) / n; /* 2^48 blocks: no file is so large */
    blocks *= n;
  }
  if (ok(writer) && !fits) {
    writer->status =
        nk_fail(&writer->error, NK_STATUS_FORMAT, "the tensor \"%s\" has a shape that GGUF's type %u cannot hold",
                nk_label_of(name, strlen(name)).text, type);
  }
  if (!ok(writer)) return 0;
  append_name(writer, &writer->tensors, name, 't');
  append_integer(writer, &writer->tensors, n_dimensions, 4);
  for (uint32_t i = 0; i < n_dimensions; i++) append_integer(writer, &writer->tensors, dimensions[i], 8);
  append_integer(writer, &writer->tensors, type, 4);
  append_integer(writer, &writer->tensors, writer->data_bytes, 8);
  writer->n_tensors++;
  uint64_t bytes = blocks * size.bytes;
  if (bytes > (1ull << 52) - writer->data_bytes) {
    writer->status = nk_fail(&writer->error, NK_STATUS_FORMAT, "the tensors have more than 2^52 bytes together");
    return 0;
  }
  writer->data_bytes += bytes + nk_gguf_padding(bytes);
  return ok(writer) ? bytes : 0;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* No key and no tensor twice. */
static void check_names(nk_gguf_writer *writer) {
  uint64_t n = writer->n_pairs + writer->n_tensors;
  if (!ok(writer) || n == 0) return;
  const char **names = malloc((size_t)n * sizeof *names);
  if (names == NULL) {
    writer->status = nk_fail(&writer->error, NK_STATUS_MEMORY, "no memory for the names of the GGUF header");
    return;
  }
  const char *at = (const char *)writer->names.bytes;
  for (uint64_t i = 0; i < n; i++, at += strlen(at) + 1) names[i] = at;
  qsort(names, (size_t)n, sizeof *names, compare_names);
  for (uint64_t i = 1; i < n && ok(writer); i++) {
    if (strcmp(names[i - 1], names[i]) != 0) continue;
    writer->status = nk_fail(&writer->error, NK_STATUS_FORMAT, "the %s %s would be written twice",
                             names[i][0] == 'k' ? "key" : "tensor", names[i] + 1);
  }
  free(names);
}

nk_status nk_gguf_writer_finish(nk_gguf_writer *writer, const uint8_t **header, uint64_t *header_bytes,
                                uint64_t *data_bytes, nk_error *error) {
  *header = NULL;
  *header_bytes = *data_bytes = 0;
  if (ok(writer) && writer->texts_due != 0) {
    writer->status = nk_fail(&writer->error, NK_STATUS_INTERNAL, "the last array lacks texts");
  }
  check_names(writer);
  if (ok(writer) && (writer->n_pairs > NK_GGUF_MAX_PAIRS || writer->n_tensors > NK_GGUF_MAX_TENSORS)) {
    writer->status =
        nk_fail(&writer->error, NK_STATUS_UNSUPPORTED, "%llu keys and %llu tensors are more than GGUF readers take",
                (unsigned long long)writer->n_pairs, (unsigned long long)writer->n_tensors);
  }
  buffer *whole = &writer->whole;
  static const uint8_t zeros[NK_GGUF_WRITE_ALIGNMENT];
  append(writer, whole, "GGUF", 4);
  append_integer(writer, whole, 3, 4);
  append_integer(writer, whole, writer->n_tensors, 8);
  append_integer(writer, whole, writer->n_pairs, 8);
  append(writer, whole, writer->pairs.bytes, writer->pairs.length);
  append(writer, whole, writer->tensors.bytes, writer->tensors.length);
  append(writer, whole, zeros, nk_gguf_padding(whole->length));
  if (!ok(writer)) {
    if (error != NULL) *error = writer->error;
    return writer->status;
  }
  free(writer->pairs.bytes);
  free(writer->tensors.bytes);
  writer->pairs = writer->tensors = (buffer){0};
  *header = whole->bytes;
  *header_bytes = whole->length;
  *data_bytes = writer->data_bytes;
  return NK_STATUS_OK;
}
