/* internal.h: what parse.c and gguf.c share; no one else includes it. */
#ifndef NOOK_GGUF_INTERNAL_H
#define NOOK_GGUF_INTERNAL_H

#include "gguf/gguf.h"

/* snprintf that always leaves a string. */
void nk_gguf_format(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Order by bytes, then by length: negative, 0 or positive. */
int nk_gguf_compare(nk_text a, nk_text b);

/* Bytes of one element; 0 for strings and arrays, whose size varies. */
uint32_t nk_gguf_element_bytes(nk_gguf_type type);

#endif
