/* internal.h: what the files of src/convert share; nothing outside of this folder includes it. */
#ifndef NOOK_CONVERT_INTERNAL_H
#define NOOK_CONVERT_INTERNAL_H

#include "convert/document.h"
#include "convert/encode.h"
#include "convert/family.h"
#include "gguf/write.h"

#define NK_CONVERT_MAX_LAYERS 1024u
#define NK_CONVERT_NAME 64u /* bytes of a tensor's name in the output, NUL included */

/* The JSON files of a checkpoint; only config and tokenizer must be there. */
typedef enum nk_convert_document {
  NK_DOC_CONFIG,
  NK_DOC_TOKENIZER,
  NK_DOC_TOKENIZER_CONFIG,
  NK_DOC_GENERATION,
  NK_DOC_SPECIAL,
  NK_DOC_TEMPLATE, /* chat_template.json */
  NK_DOC_POOLING,
  NK_DOC_INDEX,
  NK_DOC_COUNT
} nk_convert_document;

/* Things worth telling that are no errors; further ones than fit are dropped. */
#define NK_CONVERT_NOTES 8u
typedef struct nk_notes {
  uint32_t n;
  char text[NK_CONVERT_NOTES][192];
} nk_notes;
void nk_note(nk_notes *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A tensor that is computed rather than copied: float32 [n]. */
typedef struct nk_made_tensor {
  char name[NK_CONVERT_NAME];
  float *values; /* owned by the shape */
  uint32_t n;
} nk_made_tensor;
#define NK_CONVERT_MADE 2u

/* What config.json says, as far as tensors and tokenizer need it. */
typedef struct nk_shape {
  const nk_family *family;
  uint32_t layers, width, heads, kv_heads, head_dim, vocab /* 0: not said */;
  bool tied;
  nk_made_tensor made[NK_CONVERT_MADE];
  uint32_t n_made;
} nk_shape;

/* Reads config.json and writes the keys of the architecture. `sources`: where a size is that of a tensor. The caller calls
   nk_shape_free also after a failure. */
nk_status nk_convert_config(nk_shape *shape, const nk_document *config, const nk_document *pooling,
                            const nk_source_list *sources, nk_gguf_writer *writer, nk_error *error);
void nk_shape_free(nk_shape *shape);

/* The part of it that is about rotary positions (rope.c). */
nk_status nk_convert_rope(nk_shape *shape, const nk_document *config, uint32_t context, nk_gguf_writer *writer,
                          nk_error *error);
/* Puts a key of the architecture: "ARCH.suffix". */
void nk_put_arch_u32(nk_gguf_writer *writer, const nk_shape *shape, const char *suffix, uint32_t value);
void nk_put_arch_f32(nk_gguf_writer *writer, const nk_shape *shape, const char *suffix, double value);
void nk_put_arch_text(nk_gguf_writer *writer, const nk_shape *shape, const char *suffix, const char *text);
/* A finite number, or the fallback where none of the keys is there; FORMAT for anything else. */
nk_status nk_read_number(const nk_document *document, const cJSON *object, const char *keys, double fallback, double *out,
                         nk_error *error);

/* Writes the keys of the tokenizer. rows: of the embedding; the vocabulary is made so long. template [template_bytes]: of
   chat_template.jinja, or NULL. */
nk_status nk_convert_tokenizer(const nk_document documents[NK_DOC_COUNT], uint32_t rows, const char *template,
                               size_t template_bytes, nk_gguf_writer *writer, nk_notes *notes, nk_error *error);

/* ---- Tensors (tensors.c) ----------------------------------------------------------------------------------------- */

typedef struct nk_output {
  char name[NK_CONVERT_NAME];
  nk_tensor_op op;
  uint32_t type;
  uint32_t first_part, n_parts; /* of nk_tensor_plan.parts */
  uint64_t rows, cols;          /* of each part; a vector is [n, 1] */
  bool vector;
} nk_output;

typedef struct nk_tensor_plan {
  nk_output *outputs; /* [n], in the order of the first part's place in the files */
  uint32_t n;
  uint32_t *parts; /* indexes of sources */
  uint32_t embedding_rows;
} nk_tensor_plan;

/* Gives every source its place. Outputs are [rows, cols] of type `outtype` where they are matrices that are multiplied. */
nk_status nk_convert_tensors(nk_tensor_plan *plan, const nk_source_list *sources, const nk_shape *shape, uint32_t outtype,
                             nk_error *error);
void nk_tensor_plan_free(nk_tensor_plan *plan);
/* Writes the table of tensors: the made ones, then the outputs. */
void nk_convert_write_table(const nk_tensor_plan *plan, const nk_shape *shape, nk_gguf_writer *writer);

#endif
