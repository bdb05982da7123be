/*
 * cursor.h: the one way in which bytes from outside are read.
 *
 * A cursor is a window [data, data + length) and an offset. Every read checks `size <= length - offset`, a difference that
 * cannot wrap, before it touches memory. A failed read leaves the cursor where it was and returns false; the caller words
 * the error, since only it knows what was being read. Integers are little-endian.
 */
#ifndef NOOK_CORE_CURSOR_H
#define NOOK_CORE_CURSOR_H

#include "core/status.h"

typedef struct nk_cursor {
  const uint8_t *data;
  uint64_t length;
  uint64_t offset; /* invariant: offset <= length */
} nk_cursor;

nk_cursor nk_cursor_over(const void *data, uint64_t length);
uint64_t nk_cursor_left(const nk_cursor *cursor);
bool nk_cursor_skip(nk_cursor *cursor, uint64_t bytes);
/* A pointer to the next `bytes` bytes, which the cursor then passes; NULL when there are fewer. */
const uint8_t *nk_cursor_bytes(nk_cursor *cursor, uint64_t bytes);
bool nk_cursor_u8(nk_cursor *cursor, uint8_t *value);
bool nk_cursor_u16(nk_cursor *cursor, uint16_t *value);
bool nk_cursor_u32(nk_cursor *cursor, uint32_t *value);
bool nk_cursor_u64(nk_cursor *cursor, uint64_t *value);

#endif
