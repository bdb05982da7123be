/* load.c: see load.h. */
#include "model/load.h"

#include <stdlib.h>
#include <string.h>

#include "core/sha256.h"
#include "kernels/vec.h"

#define FIRST_REQUEST (256u * 1024u) /* of a header: holds all but the vocabulary of most files */
#define MAX_REQUEST (4u << 20)       /* one piece of a header */

typedef enum phase { PHASE_HEADERS, PHASE_PLANNED, PHASE_WEIGHTS, PHASE_DONE } phase;

typedef struct part {
  nk_load_file file;
  uint8_t *buffer;    /* the header, and what came with it */
  uint64_t available; /* bytes in it */
  uint64_t goal;      /* bytes that the next parse wants */
  nk_gguf gguf;
  bool parsed;
  nk_sha256 hash;
} part;

struct nk_loader {
  phase phase;
  part *parts; /* [n_parts] */
  nk_gguf *ggufs; /* [n_parts]: copies of the parts' tables, in one array for binding */
  uint32_t n_parts;
  nk_model *model;
  nk_binding binding;
  nk_problems problems;
  nk_request pending; /* what the host was asked for and has written */

  /* weights */
  uint32_t *order; /* [binding.n] placements by file and offset */
  uint32_t next;   /* the placement in work */
  uint64_t inside; /* bytes of its tensor that are packed */
  uint32_t file;   /* the part being read */
  uint64_t position; /* bytes of that part that have been consumed */
  uint8_t *staging;
  uint64_t staging_bytes, staged; /* staged: bytes of the current piece that are in place already */
  uint64_t piece;  /* bytes of the current piece */
  uint64_t done, total;
};

/* ---- Life ------------------------------------------------------------------------------------------------------------ */

void nk_model_free(nk_model *model) {
  if (model == NULL) return;
  nk_tokenizer_free(model->tokenizer);
  free(model->spare);
  nk_arena_free(&model->weights);
  free(model);
}

nk_status nk_loader_create(nk_loader **out, const nk_load_file *files, uint32_t n_files, nk_error *error) {
  *out = NULL;
  if (n_files == 0 || n_files > NK_MAX_FILES) {
    return nk_fail(error, NK_STATUS_DATA, "a model has 1 to %u files, not %u", NK_MAX_FILES, n_files);
  }
  nk_loader *loader = calloc(1, sizeof *loader);
  if (loader == NULL) return nk_fail(error, NK_STATUS_MEMORY, "no memory to begin loading");
  loader->parts = calloc(n_files, sizeof *loader->parts);
  loader->ggufs = calloc(n_files, sizeof *loader->ggufs);
  loader->model = calloc(1, sizeof *loader->model);
  if (loader->parts == NULL || loader->ggufs == NULL || loader->model == NULL) {
    nk_loader_free(loader);
    return nk_fail(error, NK_STATUS_MEMORY, "no memory to begin loading");
  }
  loader->n_parts = n_files;
  for (uint32_t i = 0; i < n_files; i++) {
    loader->parts[i].file = files[i];
    loader->parts[i].goal = files[i].bytes < FIRST_REQUEST ? files[i].bytes : FIRST_REQUEST;
    if (files[i].bytes > UINT64_MAX - loader->total) {
      nk_loader_free(loader);
      return nk_fail(error, NK_STATUS_DATA, "the files' sizes add up beyond 2^64");
    }
    loader->total += files[i].bytes;
    loader->model->file_bytes = loader->total;
    nk_sha256_init(&loader->parts[i].hash);
  }
  *out = loader;
  return NK_STATUS_OK;
}

void nk_loader_free(nk_loader *loader) {
  if (loader == NULL) return;
  for (uint32_t i = 0; i < loader->n_parts; i++) {
    nk_gguf_free(&loader->parts[i].gguf);
    free(loader->parts[i].buffer);
  }
  nk_binding_free(&loader->binding);
  free(loader->parts);
  free(loader->ggufs);
  free(loader->order);
  free(loader->staging);
  nk_model_free(loader->model);
  free(loader);
}

uint64_t nk_loader_done(const nk_loader *loader) { return loader->done; }
uint64_t nk_loader_total(const nk_loader *loader) { return loader->total; }
const nk_model *nk_loader_model(const nk_loader *loader) { return loader->model; }
const nk_gguf *nk_loader_gguf(const nk_loader *loader) { return &loader->parts[0].gguf; }
const nk_problems *nk_loader_problems(const nk_loader *loader) { return &loader->problems; }

const nk_placement *nk_loader_placements(const nk_loader *loader, uint32_t *n) {
  *n = loader->binding.n;
  return loader->binding.placements;
}

void nk_loader_header_hash(const nk_loader *loader, uint8_t digest[32]) {
  nk_sha256 hash;
  nk_sha256_init(&hash);
  const part *first = &loader->parts[0];
  nk_sha256_update(&hash, first->buffer, (size_t)first->gguf.header_bytes);
  nk_sha256_final(&hash, digest);
}

/* ---- Headers ----------------------------------------------------------------------------------------------------- */

/* Room for `bytes` in a part's header buffer. WebAssembly's allocator extends a block into what it already has behind it,
   but moves the block rather than let the memory grow, and what it moved from lies idle ever after: so there is room behind
   it first. */
static nk_status reserve(part *p, uint64_t bytes, nk_error *error) {
  void *volatile room = bytes > SIZE_MAX ? NULL : malloc((size_t)bytes); /* volatile: a compiler leaves the pair away */
  free(room);
  uint8_t *grown = bytes > SIZE_MAX ? NULL : realloc(p->buffer, bytes == 0 ? 1 : (size_t)bytes);
  if (grown == NULL) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for a header of %llu bytes", (unsigned long long)bytes);
  }
  p->buffer = grown;
  return NK_STATUS_OK;
}

/* The keys that a split model's parts carry must agree with the files given. */
static nk_status check_split(const nk_loader *loader, uint32_t index, nk_error *error) {
  const nk_gguf *gguf = &loader->parts[index].gguf;
  uint32_t count, number;
  nk_status status = nk_gguf_get_u32(gguf, "split.count", 1, 0, UINT16_MAX, &count, error);
  if (status == NK_STATUS_OK) status = nk_gguf_get_u32(gguf, "split.no", 0, 0, UINT16_MAX, &number, error);
  if (status != NK_STATUS_OK) return status;
  if (count == 0) count = 1;
  if (count != loader->n_parts) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Give all parts of the model, in order.",
                        "file %u says the model has %u part%s, but %u file%s given", index + 1, count,
                        count == 1 ? "" : "s", loader->n_parts, loader->n_parts == 1 ? " was" : "s were");
  }
  if (number != index) {
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Give the parts in order, the first part first.",
                        "file %u says it is part %u of %u", index + 1, number + 1, count);
  }
  return NK_STATUS_OK;
}

static nk_status step_headers(nk_loader *loader, nk_request *request, nk_error *error) {
  for (uint32_t i = 0; i < loader->n_parts; i++) {
    part *p = &loader->parts[i];
    while (!p->parsed) {
      if (p->available < p->goal || (p->available == 0 && p->file.bytes == 0)) {
        if (p->file.bytes == 0) return nk_fail(error, NK_STATUS_FORMAT, "file %u is empty: it has only 0 bytes", i + 1);
        nk_status status = reserve(p, p->goal, error);
        if (status != NK_STATUS_OK) return status;
        uint64_t length = p->goal - p->available;
        if (length > MAX_REQUEST) length = MAX_REQUEST;
        *request = (nk_request){.offset = p->available, .destination = p->buffer + p->available,
                                .length = (uint32_t)length, .file = i};
        return NK_STATUS_OK;
      }
      uint64_t more;
      nk_status status = nk_gguf_parse(&p->gguf, p->buffer, p->available, p->file.bytes, &more, error);
      if (status != NK_STATUS_OK) return status;
      if (more > 0) {
        p->goal = more;
        continue;
      }
      p->parsed = true;
      if ((status = check_split(loader, i, error)) != NK_STATUS_OK) return status;
    }
  }
  loader->phase = PHASE_PLANNED;
  return NK_STATUS_OK;
}

/* ---- Plan -------------------------------------------------------------------------------------------------------- */

static uint64_t staging_bytes(const nk_binding *binding) {
  uint64_t bytes = NK_STAGING_BYTES;
  for (uint32_t i = 0; i < binding->n; i++) {
    const nk_matrix *matrix = binding->placements[i].matrix;
    if (matrix == NULL) continue;
    const nk_gguf_tensor *tensor = binding->placements[i].tensor;
    uint64_t group = NK_GROUP_ROWS * nk_row_bytes(nk_format_find(tensor->type), tensor->dimension[0]);
    if (group > bytes) bytes = group;
  }
  return bytes;
}

nk_status nk_loader_plan(nk_loader *loader, nk_load_plan *plan, nk_error *error) {
  *plan = (nk_load_plan){0};
  loader->problems.count = 0;
  for (uint32_t i = 0; i < loader->n_parts; i++) loader->ggufs[i] = loader->parts[i].gguf;
  nk_model *model = loader->model;
  nk_status status = nk_config_read(&model->config, &loader->ggufs[0], &loader->problems, error);
  if (status != NK_STATUS_OK) return status;
  plan->header_bytes = loader->parts[0].available;
  if (model->config.arch == NULL) return NK_STATUS_OK;
  nk_arena measure = nk_arena_measure();
  nk_loader_header_hash(loader, model->header_hash);
  status = nk_model_bind(model, loader->ggufs, loader->n_parts, &measure, &loader->binding, &loader->problems, error);
  if (status != NK_STATUS_OK) return status;
  plan->weights_bytes = measure.used;
  plan->tokenizer_bytes = nk_tokenizer_bytes(&loader->ggufs[0]);
  plan->staging_bytes = staging_bytes(&loader->binding);
  for (uint32_t i = 1; i < loader->n_parts; i++) plan->staging_bytes += loader->parts[i].available;
  return NK_STATUS_OK;
}

/* ---- Weights ----------------------------------------------------------------------------------------------------- */

static int by_place(const void *left, const void *right, const nk_placement *placements) {
  const nk_placement *a = &placements[*(const uint32_t *)left], *b = &placements[*(const uint32_t *)right];
  if (a->file != b->file) return a->file < b->file ? -1 : 1;
  if (a->tensor->offset != b->tensor->offset) return a->tensor->offset < b->tensor->offset ? -1 : 1;
  return 0;
}

/* Heap sort: qsort takes no context, and a global would be one. */
static void sort_by_place(uint32_t *order, uint32_t n, const nk_placement *placements) {
  for (uint32_t end = n, start = n / 2; end > 1;) {
    if (start > 0) {
      start--;
    } else {
      end--;
      uint32_t top = order[0];
      order[0] = order[end];
      order[end] = top;
    }
    for (uint32_t root = start; 2 * (uint64_t)root + 1 < end;) {
      uint32_t child = 2 * root + 1;
      if (child + 1 < end && by_place(&order[child], &order[child + 1], placements) < 0) child++;
      if (by_place(&order[root], &order[child], placements) >= 0) break;
      uint32_t moved = order[root];
      order[root] = order[child];
      order[child] = moved;
      root = child;
    }
  }
}

nk_status nk_loader_weights(nk_loader *loader, nk_error *error) {
  if (loader->phase != PHASE_PLANNED) return nk_fail(error, NK_STATUS_INTERNAL, "the weights were begun out of turn");
  nk_model *model = loader->model;
  if (loader->problems.count > 0) {
    uint32_t further = loader->problems.count - 1;
    if (further > 0) {
      return nk_fail_hint(error, NK_STATUS_UNSUPPORTED, "`nook info` lists everything that is not supported in this file.",
                          "not supported: %s, and %u more", loader->problems.text[0], further);
    }
    return nk_fail_hint(error, NK_STATUS_UNSUPPORTED, "docs/support.md lists what can be loaded.", "not supported: %s",
                        loader->problems.text[0]);
  }
  nk_arena measure = nk_arena_measure();
  nk_status status =
      nk_model_bind(model, loader->ggufs, loader->n_parts, &measure, &loader->binding, &loader->problems, error);
  if (status != NK_STATUS_OK) return status;
  if ((status = nk_arena_allocate(&model->weights, measure.used, "the model's weights", error)) != NK_STATUS_OK)
    return status;
  status =
      nk_model_bind(model, loader->ggufs, loader->n_parts, &model->weights, &loader->binding, &loader->problems, error);
  if (status != NK_STATUS_OK) return status;
  loader->staging_bytes = staging_bytes(&loader->binding);
  loader->staging = malloc((size_t)loader->staging_bytes);
  loader->order = malloc(((size_t)loader->binding.n + 1) * sizeof *loader->order);
  if (loader->staging == NULL || loader->order == NULL) {
    return nk_fail(error, NK_STATUS_MEMORY, "no memory for a buffer of %llu bytes",
                   (unsigned long long)loader->staging_bytes);
  }
  for (uint32_t i = 0; i < loader->binding.n; i++) loader->order[i] = i;
  sort_by_place(loader->order, loader->binding.n, loader->binding.placements);
  loader->phase = PHASE_WEIGHTS;
  loader->file = 0;
  loader->position = 0;
  loader->pending.length = 0;
  return NK_STATUS_OK;
}

/* The float32 elements of a piece of a vector. */
static nk_status unpack_vector(const nk_placement *placement, uint64_t inside, const uint8_t *bytes, uint64_t length,
                               nk_error *error) {
  const nk_format *format = nk_format_find(placement->tensor->type);
  uint64_t size = nk_format_block_bytes(format), first = inside / size, n = length / size;
  float *out = (float *)(uintptr_t)(*placement->vector + first); /* ours: carved as writable, published as const */
  for (uint64_t i = 0; i < n; i++) {
    uint32_t bits = 0;
    if (size == 4) {
      memcpy(&bits, bytes + 4 * i, 4);
    } else {
      uint16_t half;
      memcpy(&half, bytes + 2 * i, 2);
      if (nk_format_type(format) == 30) {
        bits = (uint32_t)half << 16;
      } else {
        const nk_vec *vec = nk_vec_get(NK_ISA_SCALAR);
        float x;
        vec->f16_to_f32(&x, &half, 1);
        memcpy(&bits, &x, 4);
        if ((half & 0x7c00u) == 0x7c00u) bits = 0x7f800000u; /* the exact conversion has no Inf; say so below */
      }
    }
    if ((bits & 0x7f800000u) == 0x7f800000u) {
      return nk_fail(error, NK_STATUS_FORMAT, "the tensor %.*s holds Inf or NaN at element %llu",
                     (int)placement->tensor->name.length, placement->tensor->name.bytes, (unsigned long long)(first + i));
    }
    memcpy(&out[i], &bits, 4);
  }
  return NK_STATUS_OK;
}

/* The staged piece into its place. */
static nk_status pack_piece(nk_loader *loader, nk_error *error) {
  const nk_placement *placement = &loader->binding.placements[loader->order[loader->next]];
  if (placement->vector != NULL) {
    return unpack_vector(placement, loader->inside, loader->staging, loader->piece, error);
  }
  nk_matrix *matrix = placement->matrix;
  uint64_t row_bytes = nk_row_bytes(matrix->format, matrix->cols);
  nk_error inner = {0};
  nk_status status = nk_matrix_pack(matrix, (uint32_t)(loader->inside / row_bytes), (uint32_t)(loader->piece / row_bytes),
                                    loader->staging, &inner);
  if (status == NK_STATUS_OK) return status;
  return nk_fail(error, status, "the tensor %.*s: %s", (int)placement->tensor->name.length, placement->tensor->name.bytes,
                 inner.text);
}

/* Bytes of the next piece of the tensor in work: whole groups of rows, or what is left. */
static uint64_t next_piece(const nk_loader *loader) {
  const nk_placement *placement = &loader->binding.placements[loader->order[loader->next]];
  uint64_t left = placement->tensor->bytes - loader->inside;
  if (left <= loader->staging_bytes) return left;
  if (placement->vector != NULL) return loader->staging_bytes / 64 * 64;
  uint64_t group = NK_GROUP_ROWS * nk_row_bytes(placement->matrix->format, placement->matrix->cols);
  return loader->staging_bytes / group * group;
}

static nk_status finish_file(nk_loader *loader, nk_error *error) {
  part *p = &loader->parts[loader->file];
  if (p->file.hashed) {
    uint8_t digest[32];
    nk_sha256_final(&p->hash, digest);
    if (memcmp(digest, p->file.sha256, sizeof digest) != 0) {
      return nk_fail_hint(
          error, NK_STATUS_HASH, "Fetch it again from a source that you trust.",
          "file %u is not the expected one: its SHA-256 begins with %02x%02x%02x%02x, expected was %02x%02x%02x%02x",
          loader->file + 1, digest[0], digest[1], digest[2], digest[3], p->file.sha256[0], p->file.sha256[1],
          p->file.sha256[2], p->file.sha256[3]);
    }
  }
  loader->file++;
  loader->position = 0;
  return NK_STATUS_OK;
}

/* Puts the piece [offset, offset + length) of the file in work into staging: what the header buffer has is copied, the rest
   requested. True: something was requested. */
static bool stage(nk_loader *loader, uint64_t offset, uint64_t length, nk_request *request) {
  const part *p = &loader->parts[loader->file];
  loader->piece = length;
  loader->staged = 0;
  if (offset < p->available) {
    uint64_t known = p->available - offset;
    loader->staged = known < length ? known : length;
    memcpy(loader->staging, p->buffer + offset, (size_t)loader->staged);
  }
  if (loader->staged == length) return false;
  *request = (nk_request){.offset = offset + loader->staged, .destination = loader->staging + loader->staged,
                          .length = (uint32_t)(length - loader->staged), .file = loader->file};
  return true;
}

/* The staged piece has arrived: hash it, pack it, pass it. */
static nk_status take_piece(nk_loader *loader, nk_error *error) {
  part *p = &loader->parts[loader->file];
  if (p->file.hashed) nk_sha256_update(&p->hash, loader->staging, (size_t)loader->piece);
  const nk_placement *placement =
      loader->next < loader->binding.n ? &loader->binding.placements[loader->order[loader->next]] : NULL;
  bool of_tensor = placement != NULL && placement->file == loader->file &&
                   loader->position == placement->tensor->offset + loader->inside;
  if (of_tensor) {
    nk_status status = pack_piece(loader, error);
    if (status != NK_STATUS_OK) return status;
    loader->inside += loader->piece;
    if (loader->inside == placement->tensor->bytes) {
      loader->next++;
      loader->inside = 0;
    }
  }
  loader->position += loader->piece;
  loader->piece = 0;
  return NK_STATUS_OK;
}

static nk_status step_weights(nk_loader *loader, nk_request *request, nk_error *error) {
  if (loader->piece > 0) {
    nk_status status = take_piece(loader, error);
    if (status != NK_STATUS_OK) return status;
  }
  while (loader->file < loader->n_parts) {
    part *p = &loader->parts[loader->file];
    uint64_t before = 0; /* bytes of the parts before this one */
    for (uint32_t i = 0; i < loader->file; i++) before += loader->parts[i].file.bytes;
    loader->done = before + loader->position;
    const nk_placement *placement =
        loader->next < loader->binding.n ? &loader->binding.placements[loader->order[loader->next]] : NULL;
    bool here = placement != NULL && placement->file == loader->file;
    uint64_t goal = here ? placement->tensor->offset + loader->inside : p->file.bytes;
    if (loader->position < goal) { /* the header, a gap between tensors, the end of the file */
      if (!p->file.hashed) {
        loader->position = goal;
        continue;
      }
      uint64_t length = goal - loader->position;
      if (length > loader->staging_bytes) length = loader->staging_bytes;
      if (stage(loader, loader->position, length, request)) return NK_STATUS_OK;
    } else if (here) {
      uint64_t length = next_piece(loader);
      if (stage(loader, loader->position, length, request)) return NK_STATUS_OK;
    } else {
      nk_status status = finish_file(loader, error);
      if (status != NK_STATUS_OK) return status;
      continue;
    }
    nk_status status = take_piece(loader, error);
    if (status != NK_STATUS_OK) return status;
  }
  loader->done = loader->total;
  loader->phase = PHASE_DONE;
  return NK_STATUS_OK;
}

/* ---- Steps and the end ------------------------------------------------------------------------------------------- */

nk_status nk_loader_step(nk_loader *loader, nk_request *request, nk_error *error) {
  nk_request last = loader->pending;
  *request = (nk_request){0};
  nk_status status = NK_STATUS_OK;
  if (loader->phase == PHASE_HEADERS) {
    if (last.length > 0) loader->parts[last.file].available += last.length;
    status = step_headers(loader, request, error);
  } else if (loader->phase == PHASE_WEIGHTS) {
    status = step_weights(loader, request, error);
  }
  loader->pending = *request;
  return status;
}

/* Rotary frequencies are divided by them. */
static nk_status check_factors(const float *factors, uint32_t n, const char *name, nk_error *error) {
  for (uint32_t i = 0; factors != NULL && i < n; i++) {
    if (factors[i] > 0.0f) continue;
    return nk_fail(error, NK_STATUS_FORMAT, "the tensor %s.weight is %g at element %u; its factors are above 0", name,
                   (double)factors[i], i);
  }
  return NK_STATUS_OK;
}

static nk_status check_rope_factors(const nk_model *model, nk_error *error) {
  uint32_t n = model->config.n_rot / 2;
  nk_status status = check_factors(model->rope_factors, n, "rope_freqs", error);
  if (status == NK_STATUS_OK) status = check_factors(model->rope_short, n, "rope_factors_short", error);
  if (status == NK_STATUS_OK) status = check_factors(model->rope_long, n, "rope_factors_long", error);
  return status;
}

nk_status nk_loader_take(nk_loader *loader, nk_model **out, nk_error *error) {
  if (loader->phase != PHASE_DONE) return nk_fail(error, NK_STATUS_INTERNAL, "the model was taken before it was whole");
  nk_model *model = loader->model;
  nk_status status = check_rope_factors(model, error);
  if (status != NK_STATUS_OK) return status;
  /* The buffers of the load go before the tokenizer comes, and the header after it, which has copies of what it needs. */
  free(loader->staging);
  free(loader->order);
  loader->staging = NULL;
  loader->order = NULL;
  part *first = &loader->parts[0];
  if (nk_gguf_find(&first->gguf, "tokenizer.ggml.model") != NULL) {
    status = nk_tokenizer_create(&model->tokenizer, &first->gguf, error);
    if (status != NK_STATUS_OK) return status;
    if (nk_tokenizer_vocab(model->tokenizer) > model->vocab) {
      return nk_fail(error, NK_STATUS_FORMAT, "the tokenizer has %u tokens, but token_embd.weight has only %u rows",
                     nk_tokenizer_vocab(model->tokenizer), model->vocab);
    }
  }
  const char *name = model->config.arch->name;
  model->config.arch_name = (nk_text){name, (uint32_t)strlen(name)};
  model->spare = first->buffer;
  model->spare_bytes = first->available;
  first->buffer = NULL;
  first->available = 0;
  loader->model = NULL;
  *out = model;
  return NK_STATUS_OK;
}
