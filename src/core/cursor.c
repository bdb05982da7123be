/* cursor.c: see cursor.h. */
#include "core/cursor.h"

nk_cursor nk_cursor_over(const void *data, uint64_t length) {
  return (nk_cursor){.data = data, .length = length, .offset = 0};
}

uint64_t nk_cursor_left(const nk_cursor *cursor) { return cursor->length - cursor->offset; }

bool nk_cursor_skip(nk_cursor *cursor, uint64_t bytes) {
  if (bytes > cursor->length - cursor->offset) return false;
  cursor->offset += bytes;
  return true;
}

const uint8_t *nk_cursor_bytes(nk_cursor *cursor, uint64_t bytes) {
  if (bytes > cursor->length - cursor->offset) return NULL;
  const uint8_t *start = cursor->data + cursor->offset;
  cursor->offset += bytes;
  return start;
}

static bool read_little_endian(nk_cursor *cursor, unsigned bytes, uint64_t *value) {
  const uint8_t *start = nk_cursor_bytes(cursor, bytes);
  if (start == NULL) return false;
  uint64_t sum = 0;
  for (unsigned i = 0; i < bytes; i++) sum |= (uint64_t)start[i] << (8 * i);
  *value = sum;
  return true;
}

bool nk_cursor_u8(nk_cursor *cursor, uint8_t *value) {
  uint64_t wide;
  if (!read_little_endian(cursor, 1, &wide)) return false;
  *value = (uint8_t)wide;
  return true;
}

bool nk_cursor_u16(nk_cursor *cursor, uint16_t *value) {
  uint64_t wide;
  if (!read_little_endian(cursor, 2, &wide)) return false;
  *value = (uint16_t)wide;
  return true;
}

bool nk_cursor_u32(nk_cursor *cursor, uint32_t *value) {
  uint64_t wide;
  if (!read_little_endian(cursor, 4, &wide)) return false;
  *value = (uint32_t)wide;
  return true;
}

bool nk_cursor_u64(nk_cursor *cursor, uint64_t *value) { return read_little_endian(cursor, 8, value); }
