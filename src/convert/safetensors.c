/* safetensors.c: see safetensors.h. */
#include "convert/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "convert/document.h"
#include "core/cursor.h"

static const struct {
  const char *name;
  nk_dtype type;
  uint32_t bytes;
} DTYPES[] = {
    {"F32", NK_DTYPE_F32, 4},    {"F16", NK_DTYPE_F16, 2},       {"BF16", NK_DTYPE_BF16, 2},     {"F64", NK_DTYPE_OTHER, 8},
    {"I64", NK_DTYPE_OTHER, 8},  {"I32", NK_DTYPE_OTHER, 4},     {"I16", NK_DTYPE_OTHER, 2},     {"I8", NK_DTYPE_OTHER, 1},
    {"U64", NK_DTYPE_OTHER, 8},  {"U32", NK_DTYPE_OTHER, 4},     {"U16", NK_DTYPE_OTHER, 2},     {"U8", NK_DTYPE_OTHER, 1},
    {"BOOL", NK_DTYPE_OTHER, 1}, {"F8_E4M3", NK_DTYPE_OTHER, 1}, {"F8_E5M2", NK_DTYPE_OTHER, 1},
};

nk_status nk_safetensors_length(const uint8_t first[NK_SAFETENSORS_LENGTH_BYTES], const char *file_name,
                                uint64_t file_bytes, uint64_t *length, nk_error *error) {
  nk_cursor cursor = nk_cursor_over(first, NK_SAFETENSORS_LENGTH_BYTES);
  (void)nk_cursor_u64(&cursor, length);
  if (file_bytes < NK_SAFETENSORS_LENGTH_BYTES || *length > file_bytes - NK_SAFETENSORS_LENGTH_BYTES) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Download the file again; it is cut short, or no safetensors file.",
                        "%s says that its header has %llu bytes, but the file has %llu", file_name,
                        (unsigned long long)*length, (unsigned long long)file_bytes);
  }
  if (*length > NK_SAFETENSORS_MAX_HEADER) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s has a header of %llu bytes; the limit is %u", file_name,
                   (unsigned long long)*length, NK_SAFETENSORS_MAX_HEADER);
  }
  return NK_STATUS_OK;
}

/* ---- One tensor -------------------------------------------------------------------------------------------------- */

typedef struct place {
  const char *file_name;
  nk_label label; /* of the tensor's name */
  nk_error *error;
} place;

static nk_status bad(const place *p, const char *key, const cJSON *value, const char *but) {
  return nk_fail(p->error, NK_STATUS_FORMAT, "%s: the \"%s\" of the tensor \"%s\" is %s; %s", p->file_name, key,
                 p->label.text, nk_json_words(value).text, but);
}

static nk_status read_dtype(const place *p, nk_source_tensor *tensor, const cJSON *value) {
  for (size_t i = 0; i < sizeof DTYPES / sizeof DTYPES[0]; i++) {
    if (!nk_json_is(value, DTYPES[i].name)) continue;
    tensor->dtype = DTYPES[i].name;
    tensor->type = DTYPES[i].type;
    tensor->item_bytes = DTYPES[i].bytes;
    return NK_STATUS_OK;
  }
  return bad(p, "dtype", value, "known are F32, F16, BF16 and the integers");
}

static nk_status read_shape(const place *p, nk_source_tensor *tensor, const cJSON *value) {
  if (!cJSON_IsArray(value)) return bad(p, "shape", value, "an array of integers is needed");
  tensor->elements = 1;
  for (const cJSON *item = value->child; item != NULL; item = item->next) {
    uint64_t n;
    if (tensor->n_dimensions == NK_SAFETENSORS_MAX_DIMENSIONS)
      return bad(p, "shape", value, "it has more than 8 dimensions");
    if (!nk_json_integer(item, UINT64_MAX, &n)) return bad(p, "shape", item, "an integer from 0 to 2^53 is needed");
    if (n != 0 && tensor->elements > (1ull << 53) / n) return bad(p, "shape", value, "its product is beyond 2^53");
    tensor->elements *= n;
    tensor->shape[tensor->n_dimensions++] = n;
  }
  return NK_STATUS_OK;
}

/* data_bytes: of the file behind its header. */
static nk_status read_offsets(const place *p, nk_source_tensor *tensor, const cJSON *value, uint64_t data_bytes) {
  uint64_t begin = 0, end = 0;
  const cJSON *first = cJSON_IsArray(value) ? value->child : NULL, *second = first == NULL ? NULL : first->next;
  if (second == NULL || second->next != NULL) return bad(p, "data_offsets", value, "two integers are needed");
  if (!nk_json_integer(first, UINT64_MAX, &begin)) return bad(p, "data_offsets", first, "an integer is needed");
  if (!nk_json_integer(second, UINT64_MAX, &end)) return bad(p, "data_offsets", second, "an integer is needed");
  if (end < begin) return bad(p, "data_offsets", second, "the end lies before the beginning");
  if (end > data_bytes) {
    return nk_fail_hint(p->error, NK_STATUS_FORMAT, "Download the file again; it is cut short or damaged.",
                        "%s: the tensor \"%s\" ends at byte %llu of the data, which has %llu", p->file_name, p->label.text,
                        (unsigned long long)end, (unsigned long long)data_bytes);
  }
  /* elements <= 2^53 and an element has at most 8 bytes: the product fits. */
  if (end - begin != tensor->elements * tensor->item_bytes) {
    return nk_fail(p->error, NK_STATUS_FORMAT, "%s: the tensor \"%s\" has %llu bytes, but its shape and %s make it %llu",
                   p->file_name, p->label.text, (unsigned long long)(end - begin), tensor->dtype,
                   (unsigned long long)(tensor->elements * tensor->item_bytes));
  }
  tensor->offset = begin; /* the header's length is added when the file's tensors are in order */
  tensor->bytes = end - begin;
  return NK_STATUS_OK;
}

static nk_status read_tensor(const place *p, nk_source_tensor *tensor, const cJSON *entry, uint64_t data_bytes) {
  if (!cJSON_IsObject(entry)) return bad(p, "entry", entry, "an object is needed");
  for (const cJSON *item = entry->child; item != NULL; item = item->next) {
    if (strcmp(item->string, "dtype") != 0 && strcmp(item->string, "shape") != 0 &&
        strcmp(item->string, "data_offsets") != 0) {
      return nk_fail(p->error, NK_STATUS_FORMAT, "%s: the tensor \"%s\" has the unknown key \"%s\"", p->file_name,
                     p->label.text, nk_label_of(item->string, strlen(item->string)).text);
    }
  }
  nk_status status = read_dtype(p, tensor, nk_json_find(entry, "dtype"));
  if (status == NK_STATUS_OK) status = read_shape(p, tensor, nk_json_find(entry, "shape"));
  if (status == NK_STATUS_OK) status = read_offsets(p, tensor, nk_json_find(entry, "data_offsets"), data_bytes);
  return status;
}

/* ---- A file ------------------------------------------------------------------------------------------------------ */

static nk_status grow(nk_source_list *list, nk_error *error) {
  if (list->n < list->capacity) return NK_STATUS_OK;
  uint32_t capacity = list->capacity == 0 ? 256 : 2 * list->capacity; /* at most 2 × NK_SAFETENSORS_MAX_TENSORS */
  nk_source_tensor *grown = realloc(list->tensors, capacity * sizeof *grown);
  if (grown == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of tensors");
  list->tensors = grown;
  list->capacity = capacity;
  return NK_STATUS_OK;
}

/* By where the data begin; empty tensors before the one that begins at the same place. */
static int compare_places(const void *a, const void *b) {
  const nk_source_tensor *x = a, *y = b;
  if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
  return x->bytes < y->bytes ? -1 : x->bytes > y->bytes ? 1 : 0;
}

static nk_status check_cover(nk_source_tensor *tensors, uint32_t n, const char *file_name, uint64_t header_bytes,
                             uint64_t data_bytes, nk_error *error) {
  if (n > 0) qsort(tensors, n, sizeof *tensors, compare_places);
  uint64_t at = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (tensors[i].offset != at) {
      return nk_fail(error, NK_STATUS_FORMAT, "%s: the data of the tensor \"%s\" %s", file_name,
                     nk_label_of(tensors[i].name, strlen(tensors[i].name)).text,
                     tensors[i].offset < at ? "overlap with another's" : "begin behind a gap");
    }
    at += tensors[i].bytes;
    tensors[i].offset += header_bytes;
  }
  if (at == data_bytes) return NK_STATUS_OK;
  return nk_fail(error, NK_STATUS_FORMAT, "%s has %llu bytes of data behind its last tensor", file_name,
                 (unsigned long long)(data_bytes - at));
}

nk_status nk_safetensors_read(nk_source_list *list, const char *json, uint64_t length, const char *file_name,
                              uint64_t file_bytes, uint32_t file, nk_error *error) {
  uint64_t header_bytes = NK_SAFETENSORS_LENGTH_BYTES + length;
  if (length > NK_SAFETENSORS_MAX_HEADER || header_bytes > file_bytes) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s is shorter than its header", file_name);
  }
  nk_document document;
  nk_status status = nk_document_parse(&document, file_name, json, (size_t)length, error);
  if (status != NK_STATUS_OK) return status;
  uint32_t first = list->n;
  uint64_t data_bytes = file_bytes - header_bytes;
  for (const cJSON *entry = document.root->child; entry != NULL && status == NK_STATUS_OK; entry = entry->next) {
    if (strcmp(entry->string, "__metadata__") == 0) continue;
    size_t n_name = strlen(entry->string);
    place p = {file_name, nk_label_of(entry->string, n_name), error};
    if (n_name == 0 || n_name > NK_SAFETENSORS_MAX_NAME || list->n == NK_SAFETENSORS_MAX_TENSORS) {
      status =
          nk_fail(error, NK_STATUS_FORMAT, "%s: %s (tensor \"%s\")", file_name,
                  list->n == NK_SAFETENSORS_MAX_TENSORS ? "there are more than 65536 tensors" : "a name has 1 to 512 bytes",
                  p.label.text);
      break;
    }
    status = grow(list, error);
    if (status != NK_STATUS_OK) break;
    nk_source_tensor *tensor = &list->tensors[list->n];
    *tensor = (nk_source_tensor){.file = file};
    status = read_tensor(&p, tensor, entry, data_bytes);
    if (status != NK_STATUS_OK) break;
    tensor->name = malloc(n_name + 1);
    if (tensor->name == NULL) {
      status = nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of tensors");
      break;
    }
    memcpy(tensor->name, entry->string, n_name + 1);
    list->n++;
  }
  nk_document_free(&document);
  if (status != NK_STATUS_OK) return status;
  return check_cover(list->n == first ? NULL : list->tensors + first, list->n - first, file_name, header_bytes, data_bytes,
                     error);
}

nk_status nk_source_check_names(const nk_source_list *list, nk_error *error) {
  if (list->n < 2) return NK_STATUS_OK;
  const char **names = malloc(list->n * sizeof *names);
  if (names == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of tensors");
  for (uint32_t i = 0; i < list->n; i++) names[i] = list->tensors[i].name;
  nk_sort_texts(names, list->n);
  nk_status status = NK_STATUS_OK;
  for (uint32_t i = 1; i < list->n && status == NK_STATUS_OK; i++) {
    if (strcmp(names[i - 1], names[i]) != 0) continue;
    status = nk_fail(error, NK_STATUS_FORMAT, "the tensor \"%s\" is in two files of the checkpoint",
                     nk_label_of(names[i], strlen(names[i])).text);
  }
  free(names);
  return status;
}

void nk_source_free(nk_source_list *list) {
  for (uint32_t i = 0; i < list->n; i++) free(list->tensors[i].name);
  free(list->tensors);
  *list = (nk_source_list){0};
}
