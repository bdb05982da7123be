/* gguf.c: lookups and typed getters on a parsed header; see gguf.h. */
#include "gguf/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/cursor.h"
#include "gguf/internal.h"

/* ---- Small things ------------------------------------------------------------------------------------------------ */

void nk_gguf_format(char *out, size_t size, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  if (vsnprintf(out, size, format, arguments) < 0) out[0] = '\0';
  va_end(arguments);
}

int nk_gguf_compare(nk_text a, nk_text b) {
  int order = memcmp(a.bytes, b.bytes, a.length < b.length ? a.length : b.length);
  if (order != 0) return order;
  return a.length < b.length ? -1 : a.length > b.length ? 1 : 0;
}

uint32_t nk_gguf_element_bytes(nk_gguf_type type) {
  switch (type) {
    case NK_GGUF_U8:
    case NK_GGUF_I8:
    case NK_GGUF_BOOL:
      return 1;
    case NK_GGUF_U16:
    case NK_GGUF_I16:
      return 2;
    case NK_GGUF_U32:
    case NK_GGUF_I32:
    case NK_GGUF_F32:
      return 4;
    case NK_GGUF_U64:
    case NK_GGUF_I64:
    case NK_GGUF_F64:
      return 8;
    case NK_GGUF_STRING:
    case NK_GGUF_ARRAY:
      break;
  }
  return 0;
}

/* For sentences: "the key "x" is of type bool". */
static const char *type_name(nk_gguf_type type) {
  static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "bool", "string", "array", "u64", "i64", "f64"};
  return names[type];
}

/* ---- Lookups ----------------------------------------------------------------------------------------------------- */

const nk_gguf_pair *nk_gguf_find(const nk_gguf *gguf, const char *key) {
  size_t length = strlen(key);
  if (length > NK_GGUF_MAX_NAME) return NULL;
  nk_text wanted = {key, (uint32_t)length};
  uint32_t low = 0, high = gguf->n_pairs;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const nk_gguf_pair *pair = &gguf->pairs[gguf->pair_index[middle]];
    int order = nk_gguf_compare(wanted, pair->key);
    if (order == 0) return pair;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

const nk_gguf_tensor *nk_gguf_find_tensor(const nk_gguf *gguf, const char *name) {
  size_t length = strlen(name);
  if (length > NK_GGUF_MAX_NAME) return NULL;
  nk_text wanted = {name, (uint32_t)length};
  uint32_t low = 0, high = gguf->n_tensors;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    const nk_gguf_tensor *tensor = &gguf->tensors[gguf->tensor_index[middle]];
    int order = nk_gguf_compare(wanted, tensor->name);
    if (order == 0) return tensor;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

/* ---- Elements ---------------------------------------------------------------------------------------------------- */

/* The little-endian bits of element `index`, which has `bytes` bytes. */
static uint64_t bits_at(const nk_gguf_pair *pair, uint64_t index, uint32_t bytes) {
  const uint8_t *at = pair->value + (size_t)(index * bytes); /* within the header: see parse.c */
  uint64_t bits = 0;
  for (uint32_t i = 0; i < bytes; i++) bits |= (uint64_t)at[i] << (8 * i);
  return bits;
}

/* Two's complement of `bytes` bytes, without the conversions that C leaves to the implementation. */
static int64_t signed_of(uint64_t bits, uint32_t bytes) {
  uint64_t sign = 1ull << (8 * bytes - 1);
  if ((bits & sign) == 0) return (int64_t)bits;
  uint64_t below = (sign - 1) - (bits & (sign - 1)); /* value is -(below + 1) */
  return -(int64_t)below - 1;
}

nk_text nk_gguf_text_at(const nk_gguf_pair *pair, uint64_t index) {
  if (pair->element_type != NK_GGUF_STRING) return (nk_text){"", 0};
  const uint8_t *at = pair->value + (pair->strings != NULL ? pair->strings[index] : 0);
  uint32_t length = 0; /* the parser saw that the upper half is 0 */
  for (uint32_t i = 0; i < 4; i++) length |= (uint32_t)at[i] << (8 * i);
  return (nk_text){(const char *)(at + 8), length};
}

int64_t nk_gguf_integer_at(const nk_gguf_pair *pair, uint64_t index) {
  uint32_t bytes = nk_gguf_element_bytes(pair->element_type);
  switch (pair->element_type) {
    case NK_GGUF_U8:
    case NK_GGUF_U16:
    case NK_GGUF_U32:
    case NK_GGUF_U64:
    case NK_GGUF_BOOL: {
      uint64_t bits = bits_at(pair, index, bytes);
      return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
    }
    case NK_GGUF_I8:
    case NK_GGUF_I16:
    case NK_GGUF_I32:
    case NK_GGUF_I64:
      return signed_of(bits_at(pair, index, bytes), bytes);
    case NK_GGUF_F32:
    case NK_GGUF_F64:
    case NK_GGUF_STRING:
    case NK_GGUF_ARRAY:
      break;
  }
  return 0;
}

double nk_gguf_number_at(const nk_gguf_pair *pair, uint64_t index) {
  if (pair->element_type == NK_GGUF_F32) {
    uint32_t bits = (uint32_t)bits_at(pair, index, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
  }
  if (pair->element_type == NK_GGUF_F64) {
    uint64_t bits = bits_at(pair, index, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
  if (pair->element_type == NK_GGUF_U64) return (double)bits_at(pair, index, 8);
  return (double)nk_gguf_integer_at(pair, index);
}

/* ---- Getters ----------------------------------------------------------------------------------------------------- */

static nk_status wrong_type(const nk_gguf_pair *pair, const char *key, const char *wanted, nk_error *error) {
  bool array = pair->type == NK_GGUF_ARRAY;
  return nk_fail(error, NK_STATUS_FORMAT, "the key \"%s\" is of type %s%s, but %s is needed", key, array ? "array of " : "",
                 type_name(pair->element_type), wanted);
}

static bool is_integer(nk_gguf_type type) {
  return type != NK_GGUF_BOOL && type != NK_GGUF_F32 && type != NK_GGUF_F64 && type != NK_GGUF_STRING &&
         type != NK_GGUF_ARRAY;
}

nk_status nk_gguf_get_u32(const nk_gguf *gguf, const char *key, uint32_t fallback, uint32_t min, uint32_t max,
                          uint32_t *out, nk_error *error) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  *out = fallback;
  if (pair == NULL) return NK_STATUS_OK;
  if (!is_integer(pair->type)) return wrong_type(pair, key, "an integer", error);
  int64_t value = nk_gguf_integer_at(pair, 0);
  if (value < (int64_t)min || value > (int64_t)max) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key \"%s\" is %lld%s; allowed are %u to %u", key, (long long)value,
                   value == INT64_MAX ? " or more" : "", min, max);
  }
  *out = (uint32_t)value;
  return NK_STATUS_OK;
}

nk_status nk_gguf_get_f32(const nk_gguf *gguf, const char *key, float fallback, float *out, nk_error *error) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  *out = fallback;
  if (pair == NULL) return NK_STATUS_OK;
  if (pair->type != NK_GGUF_F32 && pair->type != NK_GGUF_F64) return wrong_type(pair, key, "a float", error);
  double value = nk_gguf_number_at(pair, 0);
  /* Beyond FLT_MAX the conversion is undefined; NaN fails the comparison too. */
  if (!(fabs(value) <= 3.4028234663852886e38)) {
    return nk_fail(error, NK_STATUS_FORMAT, "the key \"%s\" is no finite 32-bit float", key);
  }
  *out = (float)value;
  return NK_STATUS_OK;
}

nk_status nk_gguf_get_bool(const nk_gguf *gguf, const char *key, bool fallback, bool *out, nk_error *error) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  *out = fallback;
  if (pair == NULL) return NK_STATUS_OK;
  if (pair->type != NK_GGUF_BOOL) return wrong_type(pair, key, "a bool", error);
  *out = pair->value[0] != 0;
  return NK_STATUS_OK;
}

nk_status nk_gguf_get_text(const nk_gguf *gguf, const char *key, nk_text *out, nk_error *error) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  *out = (nk_text){NULL, 0};
  if (pair == NULL) return NK_STATUS_OK;
  if (pair->type != NK_GGUF_STRING) return wrong_type(pair, key, "a string", error);
  *out = nk_gguf_text_at(pair, 0);
  return NK_STATUS_OK;
}

nk_status nk_gguf_get_array(const nk_gguf *gguf, const char *key, nk_gguf_type element_type, const nk_gguf_pair **out,
                            nk_error *error) {
  const nk_gguf_pair *pair = nk_gguf_find(gguf, key);
  *out = NULL;
  if (pair == NULL) return NK_STATUS_OK;
  if (pair->type != NK_GGUF_ARRAY || pair->element_type != element_type) {
    char wanted[32];
    nk_gguf_format(wanted, sizeof wanted, "an array of %s", type_name(element_type));
    return wrong_type(pair, key, wanted, error);
  }
  *out = pair;
  return NK_STATUS_OK;
}
