/* utf8.c: see utf8.h. */
#include "core/utf8.h"

nk_utf8 nk_utf8_scan(const char *bytes, size_t n, uint32_t *length) {
  uint8_t first = (uint8_t)bytes[0];
  uint8_t low = 0x80, high = 0xbf; /* what the second byte may be: table 3-7 narrows it after four first bytes */
  uint32_t wanted = 0;
  *length = 1;
  if (first < 0x80) return NK_UTF8_WHOLE;
  if (first >= 0xc2 && first <= 0xdf) {
    wanted = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    wanted = 3;
    if (first == 0xe0) low = 0xa0;  /* shorter form exists */
    if (first == 0xed) high = 0x9f; /* surrogates */
  } else if (first >= 0xf0 && first <= 0xf4) {
    wanted = 4;
    if (first == 0xf0) low = 0x90;  /* shorter form exists */
    if (first == 0xf4) high = 0x8f; /* above U+10FFFF */
  } else {
    return NK_UTF8_INVALID;
  }
  for (; *length < wanted; (*length)++) {
    if (*length >= n) return NK_UTF8_CUT;
    uint8_t next = (uint8_t)bytes[*length];
    if (next < low || next > high) return NK_UTF8_INVALID;
    low = 0x80;
    high = 0xbf;
  }
  return NK_UTF8_WHOLE;
}
