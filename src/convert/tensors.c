/*
 * tensors.c: which tensor of the checkpoint becomes which of the GGUF file.
 *
 * Every source meets the rules of its family, the first that fits holds; a source that fits none is an error that names it,
 * since a model with something silently left out would run and be wrong. That everything needed is there is seen afterwards
 * by binding the finished header as a load would (convert.c).
 */
#include "convert/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A source with its place: outputs are gathered by sorting these. */
typedef struct match {
  char name[NK_CONVERT_NAME];
  nk_tensor_op op;
  uint32_t part, source;
} match;

/* ---- Rules ------------------------------------------------------------------------------------------------------- */

/* A number of at most four digits, without leading zeros, at *at. */
static bool read_number(const char **at, uint32_t *value) {
  const char *p = *at;
  if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9')) return false;
  *value = 0;
  for (int i = 0; *p >= '0' && *p <= '9'; i++) {
    if (i == 4) return false;
    *value = 10 * *value + (uint32_t)(*p++ - '0');
  }
  *at = p;
  return true;
}

/* True when `name` [length] is the pattern with numbers for # and @. */
static bool fits(const char *pattern, const char *name, size_t length, uint32_t *layer, uint32_t *part) {
  const char *at = name, *end = name + length;
  for (; *pattern != '\0'; pattern++) {
    if (at >= end) return false;
    if (*pattern == '#' || *pattern == '@') {
      if (!read_number(&at, *pattern == '#' ? layer : part)) return false;
    } else if (*at++ != *pattern) {
      return false;
    }
  }
  return at == end;
}

static const struct {
  const char *from, *to;
} SUFFIXES[] = {{".weight", ".weight"}, {".bias", ".bias"}, {".gamma", ".weight"}, {".beta", ".bias"}};

/* Writes "<to with its number><suffix>". */
static void write_name(char out[NK_CONVERT_NAME], const char *to, uint32_t layer, const char *suffix) {
  const char *number = strchr(to, '#');
  int n = number == NULL ? snprintf(out, NK_CONVERT_NAME, "%s%s", to, suffix)
                         : snprintf(out, NK_CONVERT_NAME, "%.*s%u%s%s", (int)(number - to), to, layer, number + 1, suffix);
  if (n < 0) out[0] = '\0';
}

/* The rule for a name, which begins behind a prefix. */
static bool find_rule(const nk_shape *shape, const char *name, match *out) {
  size_t length = strlen(name), stem = length;
  const char *suffix = NULL;
  for (size_t i = 0; i < sizeof SUFFIXES / sizeof SUFFIXES[0]; i++) {
    size_t n = strlen(SUFFIXES[i].from);
    if (length <= n || strcmp(name + length - n, SUFFIXES[i].from) != 0) continue;
    suffix = SUFFIXES[i].to;
    stem = length - n;
  }
  for (uint32_t t = 0; t < NK_FAMILY_TABLES; t++) {
    for (const nk_tensor_rule *rule = shape->family->tensors[t]; rule != NULL && rule->from != NULL; rule++) {
      uint32_t layer = 0;
      out->part = rule->part;
      bool whole = rule->op == NK_OP_SKIP && fits(rule->from, name, length, &layer, &out->part);
      if (!whole && (suffix == NULL || !fits(rule->from, name, stem, &layer, &out->part))) continue;
      if (layer >= shape->layers) continue;
      out->op = rule->op;
      if (rule->op != NK_OP_SKIP) write_name(out->name, rule->to, layer, suffix);
      return true;
    }
  }
  return false;
}

/* With each of the family's prefixes taken off, the longest first as the row has them, and as it is. */
static bool find_place(const nk_shape *shape, const char *name, match *out) {
  for (const char *prefix = shape->family->prefixes; *prefix != '\0';) {
    size_t n = strcspn(prefix, "|");
    if (strncmp(name, prefix, n) == 0 && find_rule(shape, name + n, out)) return true;
    prefix += n + (prefix[n] == '|');
  }
  return find_rule(shape, name, out);
}

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

static nk_status wrong_shape(const nk_source_tensor *source, const char *needed, nk_error *error) {
  char shape[120] = "";
  size_t at = 0;
  for (uint32_t i = 0; i < source->n_dimensions; i++) {
    int n = snprintf(shape + at, sizeof shape - at, "%s%llu", i == 0 ? "" : " × ", (unsigned long long)source->shape[i]);
    if (n < 0 || (size_t)n >= sizeof shape - at) break;
    at += (size_t)n;
  }
  return nk_fail(error, NK_STATUS_FORMAT, "the tensor \"%s\" has the shape [%s]; %s",
                 nk_label_of(source->name, strlen(source->name)).text, shape, needed);
}

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* Matrices that are added or turned over by hand rather than multiplied stay in float32, as llama.cpp's converter has it.
 */
static bool stays_float(const char *name) {
  return ends_with(name, "_norm.weight") || ends_with(name, "shortconv.conv.weight") ||
         strcmp(name, "position_embd.weight") == 0 || strcmp(name, "token_types.weight") == 0;
}

static nk_status shape_output(nk_output *output, const nk_source_tensor *source, const nk_shape *shape, uint32_t outtype,
                              nk_error *error) {
  if (source->type == NK_DTYPE_OTHER) {
    return nk_fail_hint(error, NK_STATUS_UNSUPPORTED, "Convert a checkpoint that is not quantized.",
                        "the tensor \"%s\" is of type %s; F32, F16 and BF16 are converted",
                        nk_label_of(source->name, strlen(source->name)).text, source->dtype);
  }
  if (source->elements == 0) return wrong_shape(source, "it is empty", error);
  const uint64_t *dims = source->shape;
  uint32_t n = source->n_dimensions;
  output->vector = n == 1;
  if (output->op == NK_OP_SQUEEZE && n == 3 && dims[1] == 1) {
    output->rows = dims[0];
    output->cols = dims[2];
  } else if (output->op == NK_OP_SQUEEZE || n < 1 || n > 2) {
    return wrong_shape(source, output->op == NK_OP_SQUEEZE ? "[d × 1 × L] is needed" : "a vector or a matrix is needed",
                       error);
  } else if (n == 1) {
    if (output->op == NK_OP_TURN) output->op = NK_OP_COPY; /* a bias */
    output->rows = dims[0];
    output->cols = 1;
  } else {
    bool turn = output->op == NK_OP_TURN;
    output->rows = dims[turn];
    output->cols = dims[!turn];
  }
  if (output->op == NK_OP_DROP) {
    if (output->vector || output->rows <= shape->family->dropped) return wrong_shape(source, "more rows are needed", error);
    output->rows -= shape->family->dropped;
  }
  uint64_t heads = output->op == NK_OP_PAIR_Q   ? shape->heads
                   : output->op == NK_OP_PAIR_K ? shape->kv_heads
                                                : 3ull * shape->heads;
  bool by_heads = output->op == NK_OP_PAIR_Q || output->op == NK_OP_PAIR_K || output->op == NK_OP_SPLIT;
  if (by_heads && output->rows != heads * shape->head_dim) {
    return wrong_shape(source, "its rows are not the heads of config.json", error);
  }
  output->type = output->vector || stays_float(output->name) ? NK_TYPE_F32 : outtype;
  /* Rows that are no whole blocks: the next better type, as llama.cpp's converter has it. */
  if (output->type == NK_TYPE_Q8_0 && output->cols % NK_Q8_0_BLOCK != 0) output->type = NK_TYPE_F16;
  return NK_STATUS_OK;
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

static int compare_matches(const void *a, const void *b) {
  const match *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  if (order != 0) return order;
  if (x->part != y->part) return x->part < y->part ? -1 : 1;
  return x->source < y->source ? -1 : x->source > y->source ? 1 : 0;
}

/* By the place of the first part; `parts` are indexes, and sources lie in the order of the files. */
static int compare_outputs(const void *a, const void *b) {
  const nk_output *x = a, *y = b;
  return x->first_part < y->first_part ? -1 : x->first_part > y->first_part ? 1 : 0;
}

/* matches [n], sorted: outputs and their parts. */
static nk_status gather(nk_tensor_plan *plan, const match *matches, uint32_t n, const nk_source_list *sources,
                        const nk_shape *shape, uint32_t outtype, nk_error *error) {
  for (uint32_t i = 0; i < n; i++) {
    const match *m = &matches[i];
    const nk_source_tensor *source = &sources->tensors[m->source];
    bool more = i > 0 && strcmp(m->name, matches[i - 1].name) == 0;
    nk_output *output = more ? &plan->outputs[plan->n - 1] : &plan->outputs[plan->n++];
    if (more && (m->op != NK_OP_PART || m->part == matches[i - 1].part)) {
      const char *other = sources->tensors[matches[i - 1].source].name;
      return nk_fail(error, NK_STATUS_FORMAT, "the tensors \"%s\" and \"%s\" would both become %s",
                     nk_label_of(other, strlen(other)).text, nk_label_of(source->name, strlen(source->name)).text, m->name);
    }
    if (!more) {
      *output = (nk_output){.op = m->op, .first_part = i};
      memcpy(output->name, m->name, sizeof output->name);
    }
    if (m->op == NK_OP_PART && m->part != output->n_parts) {
      return nk_fail(error, NK_STATUS_FORMAT, "the tensor %s lacks part %u (the next is \"%s\")", m->name, output->n_parts,
                     nk_label_of(source->name, strlen(source->name)).text);
    }
    plan->parts[i] = m->source;
    output->n_parts++;
    nk_output alone = *output;
    nk_status status = shape_output(&alone, source, shape, outtype, error);
    if (status != NK_STATUS_OK) return status;
    if (more && (alone.rows != output->rows || alone.cols != output->cols || alone.vector != output->vector)) {
      return wrong_shape(source, "its fellows have another", error);
    }
    *output = alone;
  }
  return NK_STATUS_OK;
}

static nk_status match_all(match *matches, uint32_t *n, const nk_source_list *sources, const nk_shape *shape,
                           nk_error *error) {
  for (uint32_t i = 0; i < sources->n; i++) {
    const char *name = sources->tensors[i].name;
    match *m = &matches[*n];
    memset(m, 0, sizeof *m);
    m->source = i;
    if (!find_place(shape, name, m)) {
      return nk_fail_hint(error, NK_STATUS_UNSUPPORTED,
                          "It may be an adapter, a quantized checkpoint or a variant of the model.",
                          "the tensor \"%s\" has no place in a %s model of %u layers", nk_label_of(name, strlen(name)).text,
                          shape->family->model_type, shape->layers);
    }
    /* A tied head is the embedding, whatever a file may hold beside it. */
    bool tied = shape->tied && strcmp(m->name, "output.weight") == 0;
    if (m->op != NK_OP_SKIP && !tied) (*n)++;
  }
  return NK_STATUS_OK;
}

nk_status nk_convert_tensors(nk_tensor_plan *plan, const nk_source_list *sources, const nk_shape *shape, uint32_t outtype,
                             nk_error *error) {
  uint32_t n = 0, room = sources->n == 0 ? 1 : sources->n;
  match *matches = malloc((size_t)room * sizeof *matches);
  plan->outputs = malloc((size_t)room * sizeof *plan->outputs);
  plan->parts = malloc((size_t)room * sizeof *plan->parts);
  nk_status status = NK_STATUS_OK;
  if (matches == NULL || plan->outputs == NULL || plan->parts == NULL) {
    status = nk_fail(error, NK_STATUS_MEMORY, "no memory for the table of tensors");
  }
  if (status == NK_STATUS_OK) status = match_all(matches, &n, sources, shape, error);
  if (status == NK_STATUS_OK && n > 0) qsort(matches, n, sizeof *matches, compare_matches);
  if (status == NK_STATUS_OK) status = gather(plan, matches, n, sources, shape, outtype, error);
  free(matches);
  if (status != NK_STATUS_OK) return status;
  for (uint32_t i = 0; i < plan->n; i++) {
    nk_output *output = &plan->outputs[i];
    if (strcmp(output->name, "token_embd.weight") != 0) continue;
    plan->embedding_rows = output->rows > UINT32_MAX ? UINT32_MAX : (uint32_t)output->rows;
  }
  if (plan->embedding_rows == 0) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "The checkpoint may be incomplete; look for further .safetensors files.",
                        "the checkpoint has no token embedding");
  }
  /* From the order of names to that of the files: while sorting, first_part is the source's index. */
  uint32_t *at = malloc((size_t)room * sizeof *at);
  if (at == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the table of tensors");
  for (uint32_t i = 0; i < plan->n; i++) {
    nk_output *output = &plan->outputs[i];
    at[plan->parts[output->first_part]] = output->first_part;
    output->first_part = plan->parts[output->first_part];
  }
  qsort(plan->outputs, plan->n, sizeof *plan->outputs, compare_outputs);
  for (uint32_t i = 0; i < plan->n; i++) plan->outputs[i].first_part = at[plan->outputs[i].first_part];
  free(at);
  return NK_STATUS_OK;
}

void nk_tensor_plan_free(nk_tensor_plan *plan) {
  free(plan->outputs);
  free(plan->parts);
  *plan = (nk_tensor_plan){0};
}

void nk_convert_write_table(const nk_tensor_plan *plan, const nk_shape *shape, nk_gguf_writer *writer) {
  for (uint32_t i = 0; i < shape->n_made; i++) {
    uint64_t n = shape->made[i].n;
    (void)nk_gguf_put_tensor(writer, shape->made[i].name, 1, &n, NK_TYPE_F32);
  }
  for (uint32_t i = 0; i < plan->n; i++) {
    const nk_output *output = &plan->outputs[i];
    uint64_t vectors[2] = {output->rows, output->n_parts}, matrix[2] = {output->cols, output->rows * output->n_parts};
    bool alone = output->vector && output->op != NK_OP_PART;
    (void)nk_gguf_put_tensor(writer, output->name, alone ? 1 : 2, output->vector ? vectors : matrix, output->type);
  }
}
