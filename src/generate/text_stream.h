/*
 * text_stream.h: from the bytes of tokens to text that may be shown now.
 *
 * A token may end inside a code point, and a stop string may spread over tokens. So the stream holds back an incomplete
 * code point, and every end of the text that may still grow into a stop string; all else goes out at once. What comes out
 * is whole code points; ill-formed bytes become U+FFFD as the WHATWG decoder makes them (core/utf8.h). How bytes are split
 * over pushes never changes the text in all.
 *
 * Stop     The first stop string that is complete ends the text, which is cut exactly before it; of those that are complete
 *          at the same byte, the longest. Matching is on the decoded text (Knuth, Morris and Pratt 1977), one step a byte.
 * Memory   Given at the beginning: the stop strings, their tables, and one piece's text with what was held.
 */
#ifndef NOOK_GENERATE_TEXT_STREAM_H
#define NOOK_GENERATE_TEXT_STREAM_H

#include "core/status.h"

#define NK_MAX_STOPS 16u
#define NK_MAX_STOP_BYTES 256u

typedef struct nk_stop {
  const char *bytes;
  size_t length;
} nk_stop;

typedef struct nk_text_stream {
  char *stops;       /* the stop strings, one after another */
  uint8_t *fallback; /* [same]: of a stop's first i + 1 bytes, the longest proper beginning that is also their end */
  char *text;        /* [room + 1]: what was held, then what a push adds */
  size_t room, max_piece;
  uint32_t n_stops;
  uint32_t length[NK_MAX_STOPS];
  uint32_t matched[NK_MAX_STOPS]; /* how much of each stop string the text ends with */
  char hold[NK_MAX_STOP_BYTES];   /* [held]: whole code points that may be the beginning of a stop string */
  char tail[4];                   /* [n_tail]: an incomplete code point */
  uint32_t held, n_tail;
  int32_t stopped; /* which stop string ended the text; -1: none */
} nk_text_stream;

/* Bytes of memory for these stop strings and pieces of up to max_piece bytes. */
uint64_t nk_text_stream_bytes(const nk_stop *stops, uint32_t n_stops, size_t max_piece);

/* Copies the stop strings. DATA when there are too many, or one is empty, too long or no valid UTF-8. `memory`:
   nk_text_stream_bytes of the same arguments, the caller's; it outlives the stream. Reads none that is too long. */
nk_status nk_text_stream_init(nk_text_stream *stream, const nk_stop *stops, uint32_t n_stops, size_t max_piece,
                              void *memory, nk_error *error);

/* Takes a token's bytes [n], n <= max_piece (else INTERNAL). *text [*text_bytes], NUL-terminated, is what may be shown now,
   until the next call; never NULL. After a stop there is no more text. */
nk_status nk_text_stream_push(nk_text_stream *stream, const char *bytes, size_t n, const char **text, size_t *text_bytes,
                              nk_error *error);

/* The end: gives what was held; an incomplete code point is one U+FFFD. Unless a stop string ended the text, the stream may
   then be used for another one. */
void nk_text_stream_flush(nk_text_stream *stream, const char **text, size_t *text_bytes);

/* The index of the stop string that ended the text, or -1. */
int32_t nk_text_stream_stop(const nk_text_stream *stream);

#endif
