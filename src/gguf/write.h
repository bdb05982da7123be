/*
 * write.h: writes the header of a GGUF file (version 3), key by key and tensor by tensor.
 *
 * Use      nk_gguf_writer_create, the nk_gguf_put_* of keys and the nk_gguf_put_tensor in file order (they may alternate),
 *          nk_gguf_writer_finish. The caller then writes the header, and after it the data of each tensor, each padded with
 *          zeros to a multiple of NK_GGUF_WRITE_ALIGNMENT (nk_gguf_padding).
 * Errors   A put that fails (no memory, a name twice, a size beyond the limits of gguf.h) is remembered, later ones do
 *          nothing, and finish reports it: callers need not check each.
 * Format   See gguf.h. Little-endian whatever the host is.
 */
#ifndef NOOK_GGUF_WRITE_H
#define NOOK_GGUF_WRITE_H

#include "gguf/gguf.h"

#define NK_GGUF_WRITE_ALIGNMENT 32u

typedef struct nk_gguf_writer nk_gguf_writer;

/* NULL when memory is out. */
nk_gguf_writer *nk_gguf_writer_create(void);
void nk_gguf_writer_free(nk_gguf_writer *writer); /* NULL is fine */

/* Keys are NUL-terminated, 1 to NK_GGUF_MAX_NAME bytes. Texts are bytes, copied. */
void nk_gguf_put_u32(nk_gguf_writer *writer, const char *key, uint32_t value);
void nk_gguf_put_f32(nk_gguf_writer *writer, const char *key, float value);
void nk_gguf_put_bool(nk_gguf_writer *writer, const char *key, bool value);
void nk_gguf_put_text(nk_gguf_writer *writer, const char *key, const char *text, size_t length);
/* A whole array of numbers [count]; element_type is U8, I32, U32, F32 or BOOL (one byte each), the values of that type. */
void nk_gguf_put_numbers(nk_gguf_writer *writer, const char *key, nk_gguf_type element_type, const void *values,
                         uint64_t count);
/* An array of `count` texts: then exactly so many nk_gguf_put_element. */
void nk_gguf_put_texts(nk_gguf_writer *writer, const char *key, uint64_t count);
/* One text of it, a followed by b (n_b may be 0). */
void nk_gguf_put_element(nk_gguf_writer *writer, const char *a, size_t n_a, const char *b, size_t n_b);

/* A tensor [dimension[0] fastest]; the type must be one that gguf/types.h knows, its rows whole blocks. Returns the bytes
   of its data without padding (0 after a failure). */
uint64_t nk_gguf_put_tensor(nk_gguf_writer *writer, const char *name, uint32_t n_dimensions, const uint64_t *dimensions,
                            uint32_t type);

/* Zeros that follow `bytes` bytes of data. */
uint32_t nk_gguf_padding(uint64_t bytes);

/* The header, padding included, which belongs to the writer and lives until it is freed; *data_bytes: of all tensors with
   their padding. Call it once. */
nk_status nk_gguf_writer_finish(nk_gguf_writer *writer, const uint8_t **header, uint64_t *header_bytes,
                                uint64_t *data_bytes, nk_error *error);

#endif
