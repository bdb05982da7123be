/* convert.c: see convert.h. The phases in their order, each a function that takes in what was wanted and says what comes.
 */
#include "convert/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/internal.h"
#include "convert/rows.h"
#include "model/model.h"

#define CHUNK_BYTES (1u << 22) /* of a JSON file or a turned tensor asked for at once */
#define OUT_BYTES (1u << 20)   /* of the header handed out at once */

static const char *const DOCUMENTS[NK_DOC_COUNT] = {
    [NK_DOC_CONFIG] = "config.json",
    [NK_DOC_TOKENIZER] = "tokenizer.json",
    [NK_DOC_TOKENIZER_CONFIG] = "tokenizer_config.json",
    [NK_DOC_GENERATION] = "generation_config.json",
    [NK_DOC_SPECIAL] = "special_tokens_map.json",
    [NK_DOC_TEMPLATE] = "chat_template.json",
    [NK_DOC_POOLING] = "1_Pooling/config.json",
    [NK_DOC_INDEX] = "model.safetensors.index.json",
};
#define TEMPLATE_FILE "chat_template.jinja"
#define SINGLE_FILE "model.safetensors"

typedef enum phase { READ_DOCUMENTS, READ_SHARDS, WRITE_HEADER, WRITE_MADE, WRITE_TENSORS, DONE } phase;

/* Bytes that are being read whole. */
typedef struct reading {
  uint8_t *bytes; /* [length + 1], the last a NUL */
  uint64_t offset, length, done;
  uint32_t file;
  bool active;
} reading;

struct nk_conversion {
  nk_convert_file *files; /* [n_files]; the names are ours */
  uint32_t n_files, outtype;
  char *name;
  phase phase;
  uint64_t done, total;
  uint32_t pending; /* bytes that were wanted */

  reading reading;
  uint32_t next_document; /* NK_DOC_COUNT: the template file */
  nk_document documents[NK_DOC_COUNT];
  uint8_t *template;
  size_t template_bytes;

  uint32_t *shards; /* [n_shards] files */
  uint32_t n_shards, next_shard;
  bool length_known;
  nk_source_list sources;

  nk_shape shape;
  nk_tensor_plan plan;
  nk_gguf_writer *writer;
  const uint8_t *header;
  uint64_t header_bytes, data_bytes, written;
  nk_notes notes;

  uint32_t next_made, next_output, next_part;
  nk_rows rows;
  bool in_tensor;
  uint64_t block; /* rows that were wanted */
  uint8_t *raw, *out;
  uint64_t raw_room, out_room;
  float *row;
  uint64_t row_room;
};

/* ---- Life -------------------------------------------------------------------------------------------------------- */

nk_status nk_conversion_create(nk_conversion **out, const nk_convert_file *files, uint32_t n_files, uint32_t outtype,
                               const char *name, nk_error *error) {
  static const uint32_t types[] = {NK_TYPE_F32, NK_TYPE_F16, NK_TYPE_Q8_0};
  *out = NULL;
  if (n_files < 1 || n_files > NK_CONVERT_MAX_FILES || outtype >= sizeof types / sizeof types[0]) {
    return nk_fail(error, NK_STATUS_DATA, "a conversion takes 1 to %u files and one of %s", NK_CONVERT_MAX_FILES,
                   NK_CONVERT_OUTTYPES);
  }
  nk_conversion *c = calloc(1, sizeof *c);
  if (c != NULL) c->files = calloc(n_files, sizeof *c->files);
  bool whole = c != NULL && c->files != NULL && (c->writer = nk_gguf_writer_create()) != NULL;
  for (uint32_t i = 0; whole && i < n_files; i++) {
    size_t n = strlen(files[i].name) + 1;
    char *copy = malloc(n);
    if (copy != NULL) memcpy(copy, files[i].name, n);
    c->files[i] = (nk_convert_file){copy, files[i].bytes};
    c->n_files++;
    whole = copy != NULL;
  }
  if (whole && name != NULL) {
    whole = (c->name = malloc(strlen(name) + 1)) != NULL;
    if (whole) memcpy(c->name, name, strlen(name) + 1);
  }
  if (!whole) {
    nk_conversion_free(c);
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for a conversion");
  }
  c->outtype = types[outtype];
  for (int i = 0; i < NK_DOC_COUNT; i++) c->documents[i].name = DOCUMENTS[i];
  *out = c;
  return NK_STATUS_OK;
}

static void free_documents(nk_conversion *c) {
  for (int i = 0; i < NK_DOC_COUNT; i++) nk_document_free(&c->documents[i]);
  free(c->template);
  c->template = NULL;
}

void nk_conversion_free(nk_conversion *c) {
  if (c == NULL) return;
  for (uint32_t i = 0; i < c->n_files; i++) free((char *)(uintptr_t)c->files[i].name);
  free(c->files);
  free(c->name);
  free(c->reading.bytes);
  free_documents(c);
  free(c->shards);
  nk_source_free(&c->sources);
  nk_shape_free(&c->shape);
  nk_tensor_plan_free(&c->plan);
  nk_gguf_writer_free(c->writer);
  free(c->raw);
  free(c->out);
  free(c->row);
  free(c);
}

void nk_conversion_progress(const nk_conversion *c, uint64_t *done, uint64_t *total) {
  *done = c->done;
  *total = c->total > c->done ? c->total : c->done;
}

static uint32_t find_file(const nk_conversion *c, const char *name) {
  for (uint32_t i = 0; i < c->n_files; i++) {
    if (strcmp(c->files[i].name, name) == 0) return i;
  }
  return UINT32_MAX;
}

/* ---- Reading whole pieces ---------------------------------------------------------------------------------------- */

static nk_status begin_reading(nk_conversion *c, uint32_t file, uint64_t offset, uint64_t length, uint64_t limit,
                               nk_error *error) {
  if (length > limit) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "%s has %llu bytes, more than the %llu that are read",
                   nk_label_of(c->files[file].name, strlen(c->files[file].name)).text, (unsigned long long)length,
                   (unsigned long long)limit);
  }
  c->reading = (reading){.offset = offset, .length = length, .file = file, .active = true};
  c->reading.bytes = malloc((size_t)length + 1);
  if (c->reading.bytes == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to read %s", c->files[file].name);
  c->reading.bytes[length] = 0;
  return NK_STATUS_OK;
}

/* Asks for the next piece; false when all is there. */
static bool want_reading(nk_conversion *c, nk_convert_turn *turn) {
  reading *r = &c->reading;
  uint64_t left = r->length - r->done;
  if (left == 0) return false;
  turn->file = r->file;
  turn->offset = r->offset + r->done;
  turn->destination = r->bytes + r->done;
  turn->length = left < CHUNK_BYTES ? (uint32_t)left : CHUNK_BYTES;
  return true;
}

static void end_reading(nk_conversion *c) {
  free(c->reading.bytes);
  c->reading = (reading){0};
}

/* ---- JSON files -------------------------------------------------------------------------------------------------- */

static nk_status take_document(nk_conversion *c, nk_error *error) {
  nk_status status = NK_STATUS_OK;
  if (c->next_document == NK_DOC_COUNT) {
    c->template = c->reading.bytes;
    c->template_bytes = (size_t)c->reading.length;
    c->reading.bytes = NULL;
  } else {
    status = nk_document_parse(&c->documents[c->next_document], DOCUMENTS[c->next_document], (const char *)c->reading.bytes,
                               (size_t)c->reading.length, error);
  }
  end_reading(c);
  c->next_document++;
  return status;
}

static int compare_u32(const void *a, const void *b) {
  uint32_t x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return x < y ? -1 : x > y ? 1 : 0;
}

/* The files that the index names, each once, in the order of the host's list. */
static nk_status read_index(nk_conversion *c, nk_error *error) {
  const nk_document *index = &c->documents[NK_DOC_INDEX];
  const cJSON *map = nk_json_find(index->root, "weight_map");
  if (!cJSON_IsObject(map)) return nk_document_refuse(index, "weight_map", map, "an object is needed", error);
  size_t n = 0;
  for (const cJSON *item = map->child; item != NULL; item = item->next) n++;
  const char **names = malloc((n == 0 ? 1 : n) * sizeof *names);
  if (names == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for %s", index->name);
  nk_status status = NK_STATUS_OK;
  n = 0;
  for (const cJSON *item = map->child; item != NULL && status == NK_STATUS_OK; item = item->next) {
    if (!cJSON_IsString(item) || item->valuestring[0] == '.' || strpbrk(item->valuestring, "/\\:") != NULL) {
      status = nk_document_refuse(index, item->string, item, "the name of a file in the same folder is needed", error);
    } else {
      names[n++] = item->valuestring;
    }
  }
  if (status == NK_STATUS_OK) nk_sort_texts(names, n);
  for (size_t i = 0; i < n && status == NK_STATUS_OK; i++) {
    if (i > 0 && strcmp(names[i - 1], names[i]) == 0) continue;
    uint32_t file = find_file(c, names[i]);
    if (file == UINT32_MAX) {
      status =
          nk_fail_hint(error, NK_STATUS_FORMAT, "Download the missing file.", "%s names %s, which is not in the folder",
                       index->name, nk_label_of(names[i], strlen(names[i])).text);
    } else {
      c->shards[c->n_shards++] = file; /* different names are different files: at most n_files */
    }
  }
  free(names);
  if (status != NK_STATUS_OK) return status;
  qsort(c->shards, c->n_shards, sizeof *c->shards, compare_u32);
  return NK_STATUS_OK;
}

static nk_status find_shards(nk_conversion *c, nk_error *error) {
  for (int i = 0; i <= NK_DOC_TOKENIZER; i++) {
    if (c->documents[i].root == NULL) {
      return nk_fail_hint(error, NK_STATUS_DATA, "Give the folder of a Hugging Face checkpoint.", "the folder has no %s",
                          DOCUMENTS[i]);
    }
  }
  c->shards = malloc(c->n_files * sizeof *c->shards);
  if (c->shards == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the list of files");
  uint32_t single = find_file(c, SINGLE_FILE);
  if (single != UINT32_MAX) {
    c->shards[c->n_shards++] = single;
  } else if (c->documents[NK_DOC_INDEX].root != NULL) {
    nk_status status = read_index(c, error);
    if (status != NK_STATUS_OK) return status;
  }
  if (c->n_shards == 0) {
    return nk_fail_hint(error, NK_STATUS_DATA, "Other formats (pytorch_model.bin) must be saved as safetensors first.",
                        "the folder has neither %s nor %s", SINGLE_FILE, DOCUMENTS[NK_DOC_INDEX]);
  }
  for (uint32_t i = 0; i < c->n_shards; i++) c->total += c->files[c->shards[i]].bytes;
  c->phase = READ_SHARDS;
  return NK_STATUS_OK;
}

static nk_status read_documents(nk_conversion *c, nk_convert_turn *turn, nk_error *error) {
  for (;;) {
    if (c->reading.active) {
      if (want_reading(c, turn)) return NK_STATUS_OK;
      nk_status status = take_document(c, error);
      if (status != NK_STATUS_OK) return status;
      continue;
    }
    if (c->next_document > NK_DOC_COUNT) return find_shards(c, error);
    bool is_template = c->next_document == NK_DOC_COUNT;
    uint32_t file = find_file(c, is_template ? TEMPLATE_FILE : DOCUMENTS[c->next_document]);
    if (file == UINT32_MAX) {
      c->next_document++;
      continue;
    }
    c->total += c->files[file].bytes;
    nk_status status = begin_reading(c, file, 0, c->files[file].bytes, NK_DOCUMENT_MAX_BYTES, error);
    if (status != NK_STATUS_OK) return status;
  }
}

/* ---- Headers of the safetensors files ---------------------------------------------------------------------------- */

/* The index and the files must agree on the tensors. */
static nk_status check_index(const nk_conversion *c, nk_error *error) {
  const cJSON *map = nk_json_find(c->documents[NK_DOC_INDEX].root, "weight_map");
  if (find_file(c, SINGLE_FILE) != UINT32_MAX || map == NULL) return NK_STATUS_OK;
  size_t n = 0;
  for (const cJSON *item = map->child; item != NULL; item = item->next) n++;
  const char **listed = malloc((n + c->sources.n + 1) * sizeof *listed), **held = listed == NULL ? NULL : listed + n;
  if (listed == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for the names of the tensors");
  n = 0;
  for (const cJSON *item = map->child; item != NULL; item = item->next) listed[n++] = item->string;
  for (uint32_t i = 0; i < c->sources.n; i++) held[i] = c->sources.tensors[i].name;
  nk_sort_texts(listed, n);
  nk_sort_texts(held, c->sources.n);
  const char *odd = NULL;
  bool missing = false;
  for (size_t i = 0; i < n || i < c->sources.n; i++) {
    int order = i >= n ? 1 : i >= c->sources.n ? -1 : strcmp(listed[i], held[i]);
    if (order == 0) continue;
    missing = order < 0;
    odd = missing ? listed[i] : held[i];
    break;
  }
  nk_status status = odd == NULL
                         ? NK_STATUS_OK
                         : nk_fail(error, NK_STATUS_FORMAT, "the tensor \"%s\" is %s", nk_label_of(odd, strlen(odd)).text,
                                   missing ? "in the index but in none of its files" : "in a file but not in the index");
  free(listed);
  return status;
}

static nk_status make_plan(nk_conversion *c, nk_error *error);

static nk_status take_shard(nk_conversion *c, nk_error *error) {
  uint32_t file = c->reading.file;
  const nk_convert_file *info = &c->files[file];
  nk_status status;
  if (!c->length_known) {
    uint64_t length;
    status = nk_safetensors_length(c->reading.bytes, info->name, info->bytes, &length, error);
    end_reading(c);
    if (status != NK_STATUS_OK) return status;
    c->length_known = true;
    return begin_reading(c, file, NK_SAFETENSORS_LENGTH_BYTES, length, NK_SAFETENSORS_MAX_HEADER, error);
  }
  status = nk_safetensors_read(&c->sources, (const char *)c->reading.bytes, c->reading.length, info->name, info->bytes,
                               file, error);
  end_reading(c);
  c->length_known = false;
  c->next_shard++;
  return status;
}

static nk_status read_shards(nk_conversion *c, nk_convert_turn *turn, nk_error *error) {
  for (;;) {
    nk_status status;
    if (c->reading.active) {
      if (want_reading(c, turn)) return NK_STATUS_OK;
      status = take_shard(c, error);
    } else if (c->next_shard < c->n_shards) {
      const nk_convert_file *file = &c->files[c->shards[c->next_shard]];
      if (file->bytes < NK_SAFETENSORS_LENGTH_BYTES) {
        return nk_fail(error, NK_STATUS_FORMAT, "%s has %llu bytes, fewer than a safetensors file", file->name,
                       (unsigned long long)file->bytes);
      }
      status =
          begin_reading(c, c->shards[c->next_shard], 0, NK_SAFETENSORS_LENGTH_BYTES, NK_SAFETENSORS_LENGTH_BYTES, error);
    } else {
      return make_plan(c, error);
    }
    if (status != NK_STATUS_OK) return status;
  }
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

static nk_status write_keys(nk_conversion *c, nk_error *error) {
  nk_gguf_writer *w = c->writer;
  const nk_document *config = &c->documents[NK_DOC_CONFIG];
  const cJSON *type = nk_json_find(config->root, "model_type");
  const nk_family *family = cJSON_IsString(type) ? nk_family_find(type->valuestring) : NULL;
  const char *arch = family == NULL ? "" : family->arch; /* an unknown one is refused below */
  nk_gguf_put_text(w, "general.architecture", arch, strlen(arch));
  nk_gguf_put_text(w, "general.type", "model", 5);
  if (c->name != NULL) nk_gguf_put_text(w, "general.name", c->name, strlen(c->name));
  nk_gguf_put_u32(w, "general.file_type", c->outtype == NK_TYPE_F32 ? 0 : c->outtype == NK_TYPE_F16 ? 1 : 7);
  nk_gguf_put_u32(w, "general.quantization_version", 2);
  nk_status status = nk_convert_config(&c->shape, config, &c->documents[NK_DOC_POOLING], &c->sources, w, error);
  if (status == NK_STATUS_OK) status = nk_convert_tensors(&c->plan, &c->sources, &c->shape, c->outtype, error);
  if (status != NK_STATUS_OK) return status;
  nk_put_arch_u32(w, &c->shape, "vocab_size", c->plan.embedding_rows);
  if (c->shape.vocab != 0 && c->shape.vocab != c->plan.embedding_rows) {
    nk_note(&c->notes, "config.json says a vocabulary of %u, the embedding has %u rows", c->shape.vocab,
            c->plan.embedding_rows);
  }
  return nk_convert_tokenizer(c->documents, c->plan.embedding_rows, (const char *)c->template, c->template_bytes, w,
                              &c->notes, error);
}

/* Reads the header back as a load would: sizes, every tensor in its place, the tokenizer. */
static nk_status check_header(const nk_conversion *c, nk_error *error) {
  nk_model model;
  nk_gguf gguf = {0};
  nk_problems *problems = calloc(1, sizeof *problems);
  nk_binding binding = {0};
  nk_arena arena = nk_arena_measure();
  nk_tokenizer *tokenizer = NULL;
  uint64_t more;
  memset(&model, 0, sizeof model);
  if (problems == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to check the header");
  nk_status status = nk_gguf_parse(&gguf, c->header, c->header_bytes, c->header_bytes + c->data_bytes, &more, error);
  if (status == NK_STATUS_OK) status = nk_config_read(&model.config, &gguf, problems, error);
  if (status == NK_STATUS_OK && model.config.arch != NULL) {
    status = nk_model_bind(&model, &gguf, 1, &arena, &binding, problems, error);
  }
  if (status == NK_STATUS_OK && problems->count > 0) {
    status = nk_fail(error, NK_STATUS_UNSUPPORTED, "the converted model could not be run: %s", problems->text[0]);
  }
  if (status == NK_STATUS_OK) status = nk_tokenizer_create(&tokenizer, &gguf, error);
  nk_tokenizer_free(tokenizer);
  nk_binding_free(&binding);
  nk_gguf_free(&gguf);
  free(problems);
  return status;
}

static nk_status make_plan(nk_conversion *c, nk_error *error) {
  nk_status status = nk_source_check_names(&c->sources, error);
  if (status == NK_STATUS_OK) status = check_index(c, error);
  if (status == NK_STATUS_OK) status = write_keys(c, error);
  free_documents(c); /* the trees are large: before the header is joined and read back */
  if (status != NK_STATUS_OK) return status;
  nk_convert_write_table(&c->plan, &c->shape, c->writer);
  status = nk_gguf_writer_finish(c->writer, &c->header, &c->header_bytes, &c->data_bytes, error);
  if (status == NK_STATUS_OK) status = check_header(c, error);
  if (status != NK_STATUS_OK) return status;
  uint64_t data = 0; /* from here on, progress is the tensors */
  for (uint32_t i = 0; i < c->plan.n; i++) {
    const nk_output *output = &c->plan.outputs[i];
    for (uint32_t p = 0; p < output->n_parts; p++) data += c->sources.tensors[c->plan.parts[output->first_part + p]].bytes;
  }
  c->total = c->done + data;
  c->phase = WRITE_HEADER;
  return NK_STATUS_OK;
}

/* ---- Output ------------------------------------------------------------------------------------------------------ */

static void write_header(nk_conversion *c, nk_convert_turn *turn) {
  uint64_t left = c->header_bytes - c->written;
  turn->output = c->header + c->written;
  turn->output_bytes = left < OUT_BYTES ? (uint32_t)left : OUT_BYTES;
  c->written += turn->output_bytes;
  if (c->written == c->header_bytes) c->phase = WRITE_MADE;
}

/* At least `bytes` bytes at *memory; its content is lost. */
static nk_status need(uint8_t **memory, uint64_t *room, uint64_t bytes, nk_error *error) {
  if (bytes <= *room) return NK_STATUS_OK;
  free(*memory);
  *room = 0;
  *memory = bytes > SIZE_MAX / 2 ? NULL : malloc((size_t)bytes);
  if (*memory == NULL) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for %llu bytes of a tensor", (unsigned long long)bytes);
  }
  *room = bytes;
  return NK_STATUS_OK;
}

static void pad(uint8_t *out, uint64_t *bytes, uint64_t tensor_bytes) {
  uint32_t zeros = nk_gguf_padding(tensor_bytes);
  memset(out + *bytes, 0, zeros);
  *bytes += zeros;
}

static nk_status write_made(nk_conversion *c, nk_convert_turn *turn, nk_error *error) {
  if (c->next_made == c->shape.n_made) {
    c->phase = WRITE_TENSORS;
    return NK_STATUS_OK;
  }
  const nk_made_tensor *made = &c->shape.made[c->next_made++];
  uint64_t bytes = 4ull * made->n;
  size_t bad;
  nk_status status = need(&c->out, &c->out_room, bytes + NK_GGUF_WRITE_ALIGNMENT, error);
  if (status != NK_STATUS_OK) return status;
  if (!nk_encode(c->out, made->values, NK_TYPE_F32, made->n, &bad)) {
    return nk_fail(error, NK_STATUS_FORMAT, "%s would hold a number that is not finite", made->name);
  }
  pad(c->out, &bytes, bytes);
  turn->output = c->out;
  turn->output_bytes = (uint32_t)bytes;
  return NK_STATUS_OK;
}

static const nk_source_tensor *part_of(const nk_conversion *c, const nk_output *output, uint32_t part) {
  return &c->sources.tensors[c->plan.parts[output->first_part + part]];
}

/* Converts the block whose bytes lie in raw, to the output. */
static nk_status convert_block(nk_conversion *c, nk_convert_turn *turn, uint64_t n, nk_error *error) {
  const nk_output *output = c->rows.output;
  uint64_t row_bytes = nk_encoded_bytes(output->type, output->cols), bytes = n * row_bytes;
  nk_status status = need(&c->out, &c->out_room, bytes + NK_GGUF_WRITE_ALIGNMENT, error);
  if (status != NK_STATUS_OK) return status;
  if (c->row_room < output->cols) {
    free(c->row);
    c->row_room = 0;
    c->row = malloc((size_t)output->cols * sizeof *c->row);
    if (c->row == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory for a row of a tensor");
    c->row_room = output->cols;
  }
  status = nk_rows_convert(&c->rows, &c->shape, n, c->raw, c->row, c->out, error);
  if (status != NK_STATUS_OK) return status;
  if (nk_rows_next(&c->rows) == 0) {
    c->in_tensor = false;
    if (++c->next_part == output->n_parts) {
      pad(c->out, &bytes, output->n_parts * output->rows * row_bytes);
      c->next_part = 0;
      c->next_output++;
    }
  }
  turn->output = c->out;
  turn->output_bytes = (uint32_t)bytes; /* rows of about a MiB */
  return NK_STATUS_OK;
}

/* Says what is wanted for the next block. */
static nk_status want_block(nk_conversion *c, nk_convert_turn *turn, nk_error *error) {
  if (!c->in_tensor) {
    if (c->next_output == c->plan.n) {
      c->phase = DONE;
      return NK_STATUS_OK;
    }
    const nk_output *output = &c->plan.outputs[c->next_output];
    c->rows = nk_rows_begin(output, part_of(c, output, c->next_part), &c->shape);
    c->in_tensor = true;
  }
  uint64_t offset, bytes;
  c->block = nk_rows_next(&c->rows);
  nk_rows_range(&c->rows, &c->shape, c->block, &offset, &bytes);
  if (bytes > UINT32_MAX) {
    return nk_fail(error, NK_STATUS_UNSUPPORTED, "the tensor \"%s\" must be read whole and has %llu bytes",
                   nk_label_of(c->rows.source->name, strlen(c->rows.source->name)).text, (unsigned long long)bytes);
  }
  nk_status status = need(&c->raw, &c->raw_room, bytes, error);
  if (status != NK_STATUS_OK) return status;
  turn->file = c->rows.source->file;
  turn->offset = offset;
  turn->destination = c->raw;
  turn->length = (uint32_t)bytes;
  return NK_STATUS_OK;
}

static nk_status write_tensors(nk_conversion *c, nk_convert_turn *turn, bool arrived, nk_error *error) {
  bool turned = c->in_tensor && c->rows.output->op == NK_OP_TURN;
  if (c->in_tensor && (arrived || turned)) {
    nk_status status = convert_block(c, turn, nk_rows_next(&c->rows), error);
    if (status != NK_STATUS_OK) return status;
    if (c->in_tensor && turned) return NK_STATUS_OK; /* more of it comes out of what is there */
  }
  return want_block(c, turn, error);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

nk_status nk_conversion_step(nk_conversion *c, nk_convert_turn *turn, nk_error *error) {
  memset(turn, 0, sizeof *turn);
  bool arrived = c->pending > 0;
  c->done += c->pending;
  if (c->reading.active) c->reading.done += c->pending;
  c->pending = 0;
  nk_status status = NK_STATUS_OK;
  while (status == NK_STATUS_OK && turn->length == 0 && turn->output_bytes == 0 && !turn->finished) {
    switch (c->phase) {
      case READ_DOCUMENTS:
        status = read_documents(c, turn, error);
        break;
      case READ_SHARDS:
        status = read_shards(c, turn, error);
        break;
      case WRITE_HEADER:
        write_header(c, turn);
        break;
      case WRITE_MADE:
        status = write_made(c, turn, error);
        break;
      case WRITE_TENSORS:
        status = write_tensors(c, turn, arrived, error);
        break;
      case DONE:
        turn->finished = true;
        break;
    }
  }
  c->pending = turn->length;
  return status;
}

cJSON *nk_conversion_facts(const nk_conversion *c) {
  cJSON *facts = cJSON_CreateObject(), *notes = facts == NULL ? NULL : cJSON_AddArrayToObject(facts, "notes");
  bool whole = notes != NULL && c->shape.family != NULL &&
               cJSON_AddStringToObject(facts, "architecture", c->shape.family->arch) != NULL &&
               cJSON_AddNumberToObject(facts, "tensors", (double)c->plan.n + c->shape.n_made) != NULL &&
               cJSON_AddNumberToObject(facts, "bytes", (double)(c->header_bytes + c->data_bytes)) != NULL;
  for (uint32_t i = 0; whole && i < c->notes.n; i++) {
    cJSON *note = cJSON_CreateString(c->notes.text[i]);
    whole = note != NULL && cJSON_AddItemToArray(notes, note);
  }
  if (whole) return facts;
  cJSON_Delete(facts);
  return NULL;
}
