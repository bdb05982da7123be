/* constants.c: what the host must know of this build: values and layouts, printed from the C definitions themselves. */
#include <string.h>

#include "api/context.h"

typedef struct named { const char *name; double value; } named;
typedef struct field { const char *name; uint32_t offset; const char *type; } field;

#define FIELD(type, member, kind) {#member, (uint32_t)offsetof(type, member), kind}

static const field WANT_FIELDS[] = {
    FIELD(nook_want, offset, "u64"),       FIELD(nook_want, done, "u64"),    FIELD(nook_want, total, "u64"),
    FIELD(nook_want, destination, "ptr"),  FIELD(nook_want, length, "u32"),  FIELD(nook_want, file, "u32"),
    FIELD(nook_want, finished, "u32"),
};
static const field SPAN_FIELDS[] = {
    FIELD(nook_span, start, "u32"), FIELD(nook_span, length, "u32"), FIELD(nook_span, parse_special, "u32"),
};
static const field ROWS_FIELDS[] = {
    FIELD(nook_rows, values, "ptr"),    FIELD(nook_rows, nll, "ptr"),  FIELD(nook_rows, columns, "u32"),
    FIELD(nook_rows, first, "u32"),     FIELD(nook_rows, n_rows, "u32"), FIELD(nook_rows, done, "u32"),
    FIELD(nook_rows, total, "u32"),     FIELD(nook_rows, finished, "u32"),
};
static const field EVENT_FIELDS[] = {
    FIELD(nook_event, type, "u32"),       FIELD(nook_event, token, "i32"), FIELD(nook_event, text, "ptr"),
    FIELD(nook_event, text_bytes, "u32"), FIELD(nook_event, logprob, "f32"), FIELD(nook_event, done, "u32"),
    FIELD(nook_event, total, "u32"),      FIELD(nook_event, dropped, "u32"),
};

static const field CONVERSION_FIELDS[] = {
    FIELD(nook_conversion, offset, "u64"),      FIELD(nook_conversion, done, "u64"),
    FIELD(nook_conversion, total, "u64"),       FIELD(nook_conversion, destination, "ptr"),
    FIELD(nook_conversion, output, "ptr"),      FIELD(nook_conversion, length, "u32"),
    FIELD(nook_conversion, file, "u32"),        FIELD(nook_conversion, output_bytes, "u32"),
    FIELD(nook_conversion, finished, "u32"),
};

static const field TRAIN_FIELDS[] = {
    FIELD(nook_train_event, type, "u32"),  FIELD(nook_train_event, end, "u32"),    FIELD(nook_train_event, loss, "f64"),
    FIELD(nook_train_event, norm, "f64"),  FIELD(nook_train_event, rate, "f64"),   FIELD(nook_train_event, share, "f64"),
    FIELD(nook_train_event, step, "u64"),  FIELD(nook_train_event, total, "u64"),  FIELD(nook_train_event, epoch, "u64"),
    FIELD(nook_train_event, tokens, "u64"), FIELD(nook_train_event, best, "f64"),
    FIELD(nook_train_event, best_step, "u64"),
};

static bool add_struct(cJSON *structs, const char *name, uint32_t size, const field *fields, size_t n) {
  cJSON *one = cJSON_AddObjectToObject(structs, name);
  if (one == NULL || cJSON_AddNumberToObject(one, "size", size) == NULL) return false;
  cJSON *list = cJSON_AddObjectToObject(one, "fields");
  if (list == NULL) return false;
  for (size_t i = 0; i < n; i++) {
    cJSON *entry = cJSON_AddObjectToObject(list, fields[i].name);
    if (entry == NULL || cJSON_AddNumberToObject(entry, "offset", fields[i].offset) == NULL ||
        cJSON_AddStringToObject(entry, "type", fields[i].type) == NULL) {
      return false;
    }
  }
  return true;
}

#define ADD_STRUCT(structs, type, fields) \
  add_struct(structs, #type, (uint32_t)sizeof(type), fields, sizeof(fields) / sizeof(fields)[0])

static bool add_values(cJSON *root, const char *key, const named *values, size_t n) {
  cJSON *object = cJSON_AddObjectToObject(root, key);
  if (object == NULL) return false;
  for (size_t i = 0; i < n; i++) {
    if (cJSON_AddNumberToObject(object, values[i].name, values[i].value) == NULL) return false;
  }
  return true;
}

static bool add_name(cJSON *list, const char *name) {
  cJSON *text = cJSON_CreateString(name);
  return text != NULL && cJSON_AddItemToArray(list, text);
}

static bool add_lists(cJSON *root) {
  cJSON *isas = cJSON_AddArrayToObject(root, "isa");
  cJSON *formats = cJSON_AddArrayToObject(root, "formats");
  cJSON *architectures = cJSON_AddArrayToObject(root, "architectures");
  if (isas == NULL || formats == NULL || architectures == NULL) return false;
  if (!add_name(isas, "scalar") || !add_name(isas, "simd128")) return false;
  if (nk_ops_get(NK_ISA_RELAXED) != NULL && !add_name(isas, "relaxed")) return false;
  for (uint32_t i = 0; i < nk_format_count(); i++) {
    if (!add_name(formats, nk_format_name(nk_format_at(i)))) return false;
  }
  for (uint32_t i = 0; i < nk_arch_count(); i++) {
    if (!add_name(architectures, nk_arch_at(i)->name)) return false;
  }
  return true;
}

char *nook_constants(void) {
  static const named statuses[] = {
#define NAMED_STATUS(name, value, code) {code, value},
      NK_STATUS_LIST(NAMED_STATUS)
#undef NAMED_STATUS
  };
  static const named events[] = {
      {"prefill", NOOK_EVENT_PREFILL}, {"token", NOOK_EVENT_TOKEN}, {"shift", NOOK_EVENT_SHIFT},
      {"done", NOOK_EVENT_DONE},       {"step", NOOK_EVENT_STEP},
  };
  static const named train[] = {
      {"work", NOOK_TRAIN_WORK}, {"step", NOOK_TRAIN_STEP}, {"eval", NOOK_TRAIN_EVAL}, {"done", NOOK_TRAIN_DONE},
  };
  static const named tokenize[] = {{"add_special", NOOK_TOKENIZE_ADD_SPECIAL}};
#if defined(__wasm__) && !defined(__wasm_atomics__)
  const bool threads = false;
#else
  const bool threads = true;
#endif
  cJSON *root = cJSON_CreateObject();
  cJSON *structs = root == NULL ? NULL : cJSON_AddObjectToObject(root, "structs");
  bool whole = structs != NULL && add_values(root, "status", statuses, sizeof statuses / sizeof statuses[0]) &&
               add_values(root, "event", events, sizeof events / sizeof events[0]) &&
               add_values(root, "train_event", train, sizeof train / sizeof train[0]) &&
               add_values(root, "tokenize", tokenize, sizeof tokenize / sizeof tokenize[0]) &&
               ADD_STRUCT(structs, nook_want, WANT_FIELDS) && ADD_STRUCT(structs, nook_span, SPAN_FIELDS) &&
               ADD_STRUCT(structs, nook_rows, ROWS_FIELDS) && ADD_STRUCT(structs, nook_event, EVENT_FIELDS) &&
               ADD_STRUCT(structs, nook_conversion, CONVERSION_FIELDS) &&
               ADD_STRUCT(structs, nook_train_event, TRAIN_FIELDS) &&
               cJSON_AddBoolToObject(root, "threads", threads) != NULL && add_lists(root);
  char *text = whole ? cJSON_PrintUnformatted(root) : NULL;
  cJSON_Delete(root);
  return text;
}
