/*
 * parse.c: from bytes to an nk_gguf; see gguf.h for the format and the limits. Lookups and getters are in gguf.c.
 *
 * The reader keeps three lengths apart: what is in memory (`available`), what the file has (`file_bytes`), and what a
 * header may have (NK_GGUF_MAX_HEADER). A read beyond the second or third is an error at once, so that a host is never
 * asked for bytes that cannot help; one beyond the first alone ends the try and asks for more.
 */
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "core/cursor.h"
#include "core/label.h"
#include "gguf/internal.h"
#include "gguf/types.h"

#define FIRST_READ 65536u    /* the least that a next try asks for */
#define MIN_PAIR_BYTES 14u   /* key length 8, key 1, type 4, value 1 */
#define MIN_TENSOR_BYTES 33u /* name length 8, name 1, dimensions 4, one dimension 8, type 4, offset 8 */
#define MIN_STRING_BYTES 8u

typedef struct reader {
  nk_cursor cursor; /* over what is in memory */
  uint64_t file_bytes;
  uint64_t more; /* 0, or where the bytes that were missing end */
  nk_status status;
  nk_error *error;
  char where[NK_LABEL_BYTES + 40]; /* what is being read: `the key "general.name"` */
} reader;

/* ---- Reading within the three lengths ---------------------------------------------------------------------------- */

/* True when the next `bytes` bytes are in memory. Else the reader's status is a failure, or `more` says where they end. */
static bool need(reader *r, uint64_t bytes) {
  if (bytes > r->file_bytes - r->cursor.offset) {
    r->status = nk_fail_hint(r->error, NK_STATUS_FORMAT, "Download the file again; it is cut short or damaged.",
                             "the GGUF header needs %llu bytes at byte %llu (%s), but the file ends at byte %llu",
                             (unsigned long long)bytes, (unsigned long long)r->cursor.offset, r->where,
                             (unsigned long long)r->file_bytes);
    return false;
  }
  if (bytes > NK_GGUF_MAX_HEADER - r->cursor.offset) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT,
                        "the GGUF header is larger than the limit of %u bytes: %s needs %llu bytes at byte %llu",
                        NK_GGUF_MAX_HEADER, r->where, (unsigned long long)bytes, (unsigned long long)r->cursor.offset);
    return false;
  }
  if (bytes > nk_cursor_left(&r->cursor)) {
    r->more = r->cursor.offset + bytes;
    return false;
  }
  return true;
}

static bool read_u32(reader *r, uint32_t *value) { return need(r, 4) && nk_cursor_u32(&r->cursor, value); }

static bool read_u64(reader *r, uint64_t *value) { return need(r, 8) && nk_cursor_u64(&r->cursor, value); }

static void set_where(reader *r, const char *what, nk_text name) {
  nk_label label = nk_label_of(name.bytes, name.length);
  nk_gguf_format(r->where, sizeof r->where, "%s \"%s\"", what, label.text);
}

/* A key or a tensor's name: 1 to NK_GGUF_MAX_NAME bytes, none of them NUL, since C strings look them up. */
static bool read_name(reader *r, const char *what, uint32_t index, nk_text *name) {
  nk_gguf_format(r->where, sizeof r->where, "the name of %s %u", what, index);
  uint64_t length;
  if (!read_u64(r, &length)) return false;
  if (length == 0 || length > NK_GGUF_MAX_NAME) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s is %llu bytes long; allowed are 1 to %u", r->where,
                        (unsigned long long)length, NK_GGUF_MAX_NAME);
    return false;
  }
  if (!need(r, length)) return false;
  name->bytes = (const char *)nk_cursor_bytes(&r->cursor, length);
  name->length = (uint32_t)length;
  if (memchr(name->bytes, 0, name->length) != NULL) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s holds a NUL byte", r->where);
    return false;
  }
  return true;
}

/* ---- Key/value pairs --------------------------------------------------------------------------------------------- */

static bool skip_string(reader *r) {
  uint64_t length;
  if (!read_u64(r, &length)) return false;
  if (length > NK_GGUF_MAX_STRING) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s has a string of %llu bytes; the limit is %u", r->where,
                        (unsigned long long)length, NK_GGUF_MAX_STRING);
    return false;
  }
  return need(r, length) && nk_cursor_skip(&r->cursor, length);
}

/* Passes pair->count strings and notes where each begins. */
static bool read_string_array(reader *r, nk_gguf_pair *pair) {
  /* The offsets take half of the bytes that the strings' lengths alone take, and those are in memory: that bounds them. */
  if (!need(r, pair->count * MIN_STRING_BYTES)) return false;
  uint64_t start = r->cursor.offset;
  pair->strings = malloc((size_t)(pair->count + 1) * sizeof *pair->strings);
  if (pair->strings == NULL) {
    r->status = nk_fail(r->error, NK_STATUS_MEMORY, "no memory for the %llu strings of %s", (unsigned long long)pair->count,
                        r->where);
    return false;
  }
  for (uint64_t i = 0; i < pair->count; i++) {
    pair->strings[i] = (uint32_t)(r->cursor.offset - start);
    if (!skip_string(r)) return false;
  }
  pair->strings[pair->count] = (uint32_t)(r->cursor.offset - start);
  return true;
}

/* Passes pair->count elements of a fixed size; bools must be 0 or 1. */
static bool read_fixed(reader *r, nk_gguf_pair *pair) {
  uint64_t bytes = pair->count * nk_gguf_element_bytes(pair->element_type); /* count <= file_bytes, or 1: see read_value */
  if (!need(r, bytes)) return false;
  if (!nk_cursor_skip(&r->cursor, bytes)) return false;
  if (pair->element_type != NK_GGUF_BOOL) return true;
  for (uint64_t i = 0; i < bytes; i++) {
    if (pair->value[i] > 1) {
      r->status =
          nk_fail(r->error, NK_STATUS_FORMAT, "%s holds the bool %u; allowed are 0 and 1", r->where, pair->value[i]);
      return false;
    }
  }
  return true;
}

static bool read_array_head(reader *r, nk_gguf_pair *pair) {
  uint32_t type;
  if (!read_u32(r, &type) || !read_u64(r, &pair->count)) return false;
  if (type == NK_GGUF_ARRAY) {
    r->status = nk_fail(r->error, NK_STATUS_UNSUPPORTED, "%s is an array of arrays, which Nook does not read", r->where);
    return false;
  }
  if (type > NK_GGUF_F64) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s is an array of the unknown type %u", r->where, type);
    return false;
  }
  pair->element_type = (nk_gguf_type)type;
  uint64_t least = type == NK_GGUF_STRING ? MIN_STRING_BYTES : nk_gguf_element_bytes(pair->element_type);
  uint64_t left = r->file_bytes - r->cursor.offset;
  if (pair->count > left / least) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s claims %llu elements, but only %llu bytes are left in the file",
                        r->where, (unsigned long long)pair->count, (unsigned long long)left);
    return false;
  }
  return true;
}

static bool read_pair(reader *r, uint32_t index, nk_gguf_pair *pair) {
  if (!read_name(r, "key", index, &pair->key)) return false;
  set_where(r, "the key", pair->key);
  uint32_t type;
  if (!read_u32(r, &type)) return false;
  if (type > NK_GGUF_F64) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s has the unknown type %u", r->where, type);
    return false;
  }
  pair->type = pair->element_type = (nk_gguf_type)type;
  pair->count = 1;
  if (type == NK_GGUF_ARRAY && !read_array_head(r, pair)) return false;
  pair->value = r->cursor.data + r->cursor.offset;
  if (pair->element_type != NK_GGUF_STRING) return read_fixed(r, pair);
  return type == NK_GGUF_ARRAY ? read_string_array(r, pair) : skip_string(r);
}

/* ---- Tensors ----------------------------------------------------------------------------------------------------- */

/* Multiplies in u64; false when the product would not fit. */
static bool multiply(uint64_t *product, uint64_t factor) {
  if (factor != 0 && *product > UINT64_MAX / factor) return false;
  *product *= factor;
  return true;
}

/* Counts the bytes of the data; dimensions are > 0 and below the limit. */
static bool measure_tensor(reader *r, nk_gguf_tensor *tensor) {
  uint64_t elements = 1;
  bool fits = true;
  for (uint32_t d = 0; d < NK_GGUF_MAX_DIMENSIONS; d++) fits = fits && multiply(&elements, tensor->dimension[d]);
  nk_gguf_size size;
  if (fits && nk_gguf_type_size(tensor->type, &size)) {
    if (tensor->dimension[0] % size.block != 0) {
      r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s has rows of %llu elements, but its type %u stores blocks of %u",
                          r->where, (unsigned long long)tensor->dimension[0], tensor->type, size.block);
      return false;
    }
    tensor->bytes = elements / size.block;
    fits = multiply(&tensor->bytes, size.bytes);
  }
  if (!fits) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "the dimensions of %s multiply to more than 64 bits hold", r->where);
    return false;
  }
  return true;
}

static bool read_tensor(reader *r, uint32_t index, nk_gguf_tensor *tensor) {
  if (!read_name(r, "tensor", index, &tensor->name)) return false;
  set_where(r, "the tensor", tensor->name);
  if (!read_u32(r, &tensor->n_dimensions)) return false;
  if (tensor->n_dimensions == 0 || tensor->n_dimensions > NK_GGUF_MAX_DIMENSIONS) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s has %u dimensions; allowed are 1 to %u", r->where,
                        tensor->n_dimensions, NK_GGUF_MAX_DIMENSIONS);
    return false;
  }
  for (uint32_t d = 0; d < NK_GGUF_MAX_DIMENSIONS; d++) {
    tensor->dimension[d] = 1;
    if (d >= tensor->n_dimensions) continue;
    if (!read_u64(r, &tensor->dimension[d])) return false;
    if (tensor->dimension[d] == 0 || tensor->dimension[d] >= NK_GGUF_MAX_DIMENSION) {
      r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s has %llu elements along dimension %u; allowed are 1 to %llu",
                          r->where, (unsigned long long)tensor->dimension[d], d, NK_GGUF_MAX_DIMENSION - 1);
      return false;
    }
  }
  return read_u32(r, &tensor->type) && read_u64(r, &tensor->offset) && measure_tensor(r, tensor);
}

/* Turns the offset, which the file counts from where data start, into one from the file's start; the tensor must fit. */
static bool place_tensor(reader *r, const nk_gguf *gguf, nk_gguf_tensor *tensor) {
  set_where(r, "the tensor", tensor->name);
  if (tensor->offset % gguf->alignment != 0) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s starts at offset %llu, which is no multiple of the alignment %u",
                        r->where, (unsigned long long)tensor->offset, gguf->alignment);
    return false;
  }
  /* header_bytes <= file_bytes, so neither difference wraps, and the sum that is stored is the one that was checked. */
  uint64_t room = r->file_bytes - gguf->header_bytes;
  if (tensor->offset > room || tensor->bytes > room - tensor->offset) {
    r->status =
        nk_fail_hint(r->error, NK_STATUS_FORMAT, "Download the file again; it is cut short or damaged.",
                     "%s needs %llu bytes at offset %llu of the data, but the file has only %llu bytes of data", r->where,
                     (unsigned long long)tensor->bytes, (unsigned long long)tensor->offset, (unsigned long long)room);
    return false;
  }
  tensor->offset += gguf->header_bytes;
  return true;
}

/* ---- Sorted indexes ---------------------------------------------------------------------------------------------- */

/* The order of two rows of a table: negative, 0 or positive. */
typedef int (*row_order)(const nk_gguf *gguf, uint32_t a, uint32_t b);

static int pair_order(const nk_gguf *gguf, uint32_t a, uint32_t b) {
  return nk_gguf_compare(gguf->pairs[a].key, gguf->pairs[b].key);
}

static int tensor_order(const nk_gguf *gguf, uint32_t a, uint32_t b) {
  return nk_gguf_compare(gguf->tensors[a].name, gguf->tensors[b].name);
}

static int offset_order(const nk_gguf *gguf, uint32_t a, uint32_t b) {
  uint64_t x = gguf->tensors[a].offset, y = gguf->tensors[b].offset;
  return x < y ? -1 : x > y ? 1 : 0;
}

static void sift(const nk_gguf *gguf, uint32_t *index, uint32_t root, uint32_t n, row_order order) {
  uint32_t moving = index[root];
  for (uint32_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && order(gguf, index[child], index[child + 1]) < 0) child++;
    if (order(gguf, moving, index[child]) >= 0) break;
    index[root] = index[child];
  }
  index[root] = moving;
}

/* Heap sort: n log n whatever the file holds, in place, and no recursion that a file could deepen. */
static void sort_rows(const nk_gguf *gguf, uint32_t *index, uint32_t n, row_order order) {
  for (uint32_t i = 0; i < n; i++) index[i] = i;
  for (uint32_t i = n / 2; i-- > 0;) sift(gguf, index, i, n, order);
  for (uint32_t last = n; last-- > 1;) {
    uint32_t top = index[0];
    index[0] = index[last];
    index[last] = top;
    sift(gguf, index, 0, last, order);
  }
}

/* An array of n things, never NULL but when memory is out. */
static void *table(reader *r, uint32_t n, size_t bytes, const char *what) {
  void *memory = calloc(n == 0 ? 1 : n, bytes);
  if (memory == NULL) r->status = nk_fail(r->error, NK_STATUS_MEMORY, "no memory for the table of %u %s", n, what);
  return memory;
}

static bool index_pairs(reader *r, nk_gguf *gguf) {
  gguf->pair_index = table(r, gguf->n_pairs, sizeof *gguf->pair_index, "keys");
  if (gguf->pair_index == NULL) return false;
  sort_rows(gguf, gguf->pair_index, gguf->n_pairs, pair_order);
  for (uint32_t i = 1; i < gguf->n_pairs; i++) {
    if (pair_order(gguf, gguf->pair_index[i - 1], gguf->pair_index[i]) != 0) continue;
    set_where(r, "the key", gguf->pairs[gguf->pair_index[i]].key);
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s occurs twice in the file", r->where);
    return false;
  }
  return true;
}

/* Also finds overlaps, for which tensor_index first holds the order by offset. */
static bool index_tensors(reader *r, nk_gguf *gguf) {
  uint32_t n = gguf->n_tensors;
  uint32_t *index = gguf->tensor_index = table(r, n, sizeof *index, "tensors");
  if (index == NULL) return false;
  sort_rows(gguf, index, n, offset_order);
  /* Rows of unknown size (bytes 0) can't be judged. Where no two neighbours overlap, no two others do. */
  const nk_gguf_tensor *before = NULL;
  for (uint32_t i = 0; i < n; i++) {
    const nk_gguf_tensor *tensor = &gguf->tensors[index[i]];
    if (tensor->bytes == 0) continue;
    if (before != NULL && before->offset + before->bytes > tensor->offset) {
      set_where(r, "the tensor", tensor->name);
      r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s overlaps the tensor \"%s\" in the file", r->where,
                          nk_label_of(before->name.bytes, before->name.length).text);
      return false;
    }
    before = tensor;
  }
  sort_rows(gguf, index, n, tensor_order);
  for (uint32_t i = 1; i < n; i++) {
    if (tensor_order(gguf, index[i - 1], index[i]) != 0) continue;
    set_where(r, "the tensor", gguf->tensors[index[i]].name);
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "%s occurs twice in the file", r->where);
    return false;
  }
  return true;
}

/* ---- The whole header -------------------------------------------------------------------------------------------- */

static bool read_version(reader *r, nk_gguf *gguf) {
  nk_gguf_format(r->where, sizeof r->where, "magic and version");
  const char *hint = "Give a model in the GGUF format; its name usually ends in .gguf.";
  uint32_t magic;
  if (r->file_bytes < 8) {
    r->status =
        nk_fail_hint(r->error, NK_STATUS_FORMAT, hint, "the file has only %llu bytes, which is too short for a GGUF file",
                     (unsigned long long)r->file_bytes);
    return false;
  }
  if (!read_u32(r, &magic)) return false;
  if (magic != 0x46554747u) { /* "GGUF" */
    r->status = nk_fail_hint(r->error, NK_STATUS_FORMAT, hint,
                             "this is not a GGUF file: it starts with the bytes %02x %02x %02x %02x instead of \"GGUF\"",
                             magic & 255, magic >> 8 & 255, magic >> 16 & 255, magic >> 24);
    return false;
  }
  if (!read_u32(r, &gguf->version)) return false;
  if (gguf->version == 2 || gguf->version == 3) return true;
  if ((gguf->version & 0xffffu) == 0 && gguf->version != 0) {
    r->status = nk_fail_hint(r->error, NK_STATUS_UNSUPPORTED, "Take the little-endian file of the same model.",
                             "this is a big-endian GGUF file, and Nook reads little-endian ones");
  } else {
    r->status = nk_fail_hint(r->error, NK_STATUS_UNSUPPORTED, "Convert the model again with a current converter.",
                             "this GGUF file has version %u, and Nook reads versions 2 and 3", gguf->version);
  }
  return false;
}

static bool read_counts(reader *r, nk_gguf *gguf) {
  nk_gguf_format(r->where, sizeof r->where, "the counts of tensors and keys");
  uint64_t tensors, pairs;
  if (!read_u64(r, &tensors) || !read_u64(r, &pairs)) return false;
  if (tensors > NK_GGUF_MAX_TENSORS || pairs > NK_GGUF_MAX_PAIRS) {
    r->status =
        nk_fail(r->error, NK_STATUS_FORMAT, "the GGUF header claims %llu tensors and %llu keys; the limits are %u and %u",
                (unsigned long long)tensors, (unsigned long long)pairs, NK_GGUF_MAX_TENSORS, NK_GGUF_MAX_PAIRS);
    return false;
  }
  uint64_t left = r->file_bytes - r->cursor.offset;
  if (tensors * MIN_TENSOR_BYTES + pairs * MIN_PAIR_BYTES > left) { /* both are small now */
    r->status = nk_fail_hint(r->error, NK_STATUS_FORMAT, "Download the file again; it is cut short or damaged.",
                             "the GGUF header claims %llu tensors and %llu keys, but only %llu bytes are left in the file",
                             (unsigned long long)tensors, (unsigned long long)pairs, (unsigned long long)left);
    return false;
  }
  gguf->pairs = table(r, (uint32_t)pairs, sizeof *gguf->pairs, "keys");
  if (gguf->pairs == NULL) return false;
  gguf->n_pairs = (uint32_t)pairs; /* with zeroed rows, so that nk_gguf_free may run at any time from here on */
  gguf->tensors = table(r, (uint32_t)tensors, sizeof *gguf->tensors, "tensors");
  if (gguf->tensors == NULL) return false;
  gguf->n_tensors = (uint32_t)tensors;
  return true;
}

static bool read_alignment(reader *r, nk_gguf *gguf) {
  r->status = nk_gguf_get_u32(gguf, "general.alignment", 32, 1, NK_GGUF_MAX_ALIGNMENT, &gguf->alignment, r->error);
  if (r->status != NK_STATUS_OK) return false;
  if ((gguf->alignment & (gguf->alignment - 1)) != 0) {
    r->status = nk_fail(r->error, NK_STATUS_FORMAT, "the key \"general.alignment\" is %u, which is no power of two",
                        gguf->alignment);
    return false;
  }
  return true;
}

static bool read_header(reader *r, nk_gguf *gguf) {
  if (!read_version(r, gguf) || !read_counts(r, gguf)) return false;
  for (uint32_t i = 0; i < gguf->n_pairs; i++) {
    if (!read_pair(r, i, &gguf->pairs[i])) return false;
  }
  if (!index_pairs(r, gguf) || !read_alignment(r, gguf)) return false;
  for (uint32_t i = 0; i < gguf->n_tensors; i++) {
    if (!read_tensor(r, i, &gguf->tensors[i])) return false;
  }
  uint64_t mask = gguf->alignment - 1;
  gguf->header_bytes = (r->cursor.offset + mask) & ~mask;
  /* A file of a vocabulary alone has no data, and then no padding either. */
  if (gguf->header_bytes > r->file_bytes) gguf->header_bytes = r->file_bytes;
  for (uint32_t i = 0; i < gguf->n_tensors; i++) {
    if (!place_tensor(r, gguf, &gguf->tensors[i])) return false;
  }
  return index_tensors(r, gguf);
}

nk_status nk_gguf_parse(nk_gguf *out, const uint8_t *buffer, uint64_t available, uint64_t file_bytes, uint64_t *more,
                        nk_error *error) {
  memset(out, 0, sizeof *out);
  *more = 0;
  uint64_t most = file_bytes < NK_GGUF_MAX_HEADER ? file_bytes : NK_GGUF_MAX_HEADER;
  if (available > most) available = most;
  reader r = {
      .cursor = nk_cursor_over(buffer, available), .file_bytes = file_bytes, .status = NK_STATUS_OK, .error = error};
  if (read_header(&r, out)) return NK_STATUS_OK;
  nk_gguf_free(out);
  if (r.status != NK_STATUS_OK) return r.status;
  /* At least twice as much as now, so that a long header costs a few tries and not one for each of its keys. `need` has
     seen that r.more is within `most`. */
  uint64_t next = available * 2 > FIRST_READ ? available * 2 : FIRST_READ;
  if (next < r.more) next = r.more;
  *more = next < most ? next : most;
  return NK_STATUS_OK;
}

void nk_gguf_free(nk_gguf *gguf) {
  for (uint32_t i = 0; i < gguf->n_pairs; i++) free(gguf->pairs[i].strings);
  free(gguf->pairs);
  free(gguf->tensors);
  free(gguf->pair_index);
  free(gguf->tensor_index);
  memset(gguf, 0, sizeof *gguf);
}
