/*
 * safetensors.h: reads the header of a safetensors file: names, types, shapes and places of its tensors.
 *
 * Format   u64 length of the header (little-endian), the header as JSON {"NAME": {"dtype", "shape", "data_offsets": [begin,
 *          end]}, "__metadata__"?: {…}}, then the data, to which the offsets are relative.
 * Hostile  The data must be covered by the tensors, each byte by one: offsets in the file, ascending without gap or overlap
 *          (what the format's own reader asks for, and what leaves no byte that two readers see differently). Shape × dtype
 *          gives the length, in u64 arithmetic that cannot wrap. Names are unique over all files of a checkpoint.
 */
#ifndef NOOK_CONVERT_SAFETENSORS_H
#define NOOK_CONVERT_SAFETENSORS_H

#include "core/status.h"

#define NK_SAFETENSORS_MAX_HEADER (1u << 24) /* bytes: 16 MiB, some 100,000 tensors */
#define NK_SAFETENSORS_MAX_TENSORS 65536u    /* in all files */
#define NK_SAFETENSORS_MAX_DIMENSIONS 8u
#define NK_SAFETENSORS_MAX_NAME 512u
#define NK_SAFETENSORS_LENGTH_BYTES 8u

typedef enum nk_dtype { NK_DTYPE_F32, NK_DTYPE_F16, NK_DTYPE_BF16, NK_DTYPE_OTHER } nk_dtype;

typedef struct nk_source_tensor {
  char *name;        /* owned by the list */
  const char *dtype; /* its name */
  nk_dtype type;     /* OTHER: known by size, not converted */
  uint32_t item_bytes, n_dimensions, file;
  uint64_t shape[NK_SAFETENSORS_MAX_DIMENSIONS]; /* [n_dimensions], slowest first */
  uint64_t elements, offset /* from the start of the file */, bytes;
} nk_source_tensor;

/* The tensors of all files, each file's in the order of its data. */
typedef struct nk_source_list {
  nk_source_tensor *tensors; /* [n] */
  uint32_t n, capacity;
} nk_source_list;

/* The length of the JSON that follows the file's first 8 bytes, checked against the file and the limit. */
nk_status nk_safetensors_length(const uint8_t first[NK_SAFETENSORS_LENGTH_BYTES], const char *file_name,
                                uint64_t file_bytes, uint64_t *length, nk_error *error);

/* json [length + 1], json[length] being NUL. Adds the file's tensors to the list; `file` becomes theirs. */
nk_status nk_safetensors_read(nk_source_list *list, const char *json, uint64_t length, const char *file_name,
                              uint64_t file_bytes, uint32_t file, nk_error *error);

/* After all files: FORMAT when a name comes twice. */
nk_status nk_source_check_names(const nk_source_list *list, nk_error *error);
void nk_source_free(nk_source_list *list);

#endif
