/*
 * utf8.h: where one code point ends and whether it is one.
 *
 * Source  The Unicode Standard, table 3-7 (well-formed UTF-8), and its "maximal subpart" practice, which is also the WHATWG
 *         Encoding Standard's decoder: each longest start of a well-formed sequence that goes wrong becomes one U+FFFD.
 */
#ifndef NOOK_CORE_UTF8_H
#define NOOK_CORE_UTF8_H

#include "core/status.h"

#define NK_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define NK_UTF8_REPLACEMENT_BYTES 3u

typedef enum nk_utf8 {
  NK_UTF8_WHOLE,   /* `length` bytes are one code point */
  NK_UTF8_INVALID, /* `length` bytes become one U+FFFD */
  NK_UTF8_CUT,     /* all `length` (= n) bytes start a code point, and more bytes could complete it */
} nk_utf8;

/* Judges the first sequence of bytes [n]; n > 0. */
nk_utf8 nk_utf8_scan(const char *bytes, size_t n, uint32_t *length);

#endif
