/* text_stream.c: see text_stream.h. */
#include "generate/text_stream.h"

#include <string.h>

#include "core/label.h"
#include "core/utf8.h"

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

/* Bytes of all stop strings, each counted up to the limit, so that a wrong one can't make the sum wrap. */
static size_t stop_bytes(const nk_stop *stops, uint32_t n_stops) {
  size_t sum = 0;
  for (uint32_t i = 0; i < n_stops && i < NK_MAX_STOPS; i++) {
    sum += stops[i].length < NK_MAX_STOP_BYTES ? stops[i].length : NK_MAX_STOP_BYTES;
  }
  return sum;
}

/* What is held, and three bytes for each: a byte may become U+FFFD, and so may an incomplete code point that is waiting. */
static uint64_t text_room(size_t max_piece) {
  return NK_MAX_STOP_BYTES - 1 + NK_UTF8_REPLACEMENT_BYTES * ((uint64_t)max_piece + 1);
}

uint64_t nk_text_stream_bytes(const nk_stop *stops, uint32_t n_stops, size_t max_piece) {
  return 2 * (uint64_t)stop_bytes(stops, n_stops) + text_room(max_piece) + 1;
}

static nk_status check_stop(const nk_stop *stop, uint32_t index, nk_error *error) {
  if (stop->length == 0 || stop->length > NK_MAX_STOP_BYTES) {
    return nk_fail(error, NK_STATUS_DATA, "stop string %u has %zu bytes; allowed are 1 to %u", index, stop->length,
                   NK_MAX_STOP_BYTES);
  }
  for (size_t at = 0; at < stop->length;) {
    uint32_t step;
    if (nk_utf8_scan(stop->bytes + at, stop->length - at, &step) != NK_UTF8_WHOLE) {
      return nk_fail(error, NK_STATUS_DATA,
                     "stop string %u (\"%s\") is not valid UTF-8, so that no text could ever hold it", index,
                     nk_label_of(stop->bytes, stop->length).text);
    }
    at += step;
  }
  return NK_STATUS_OK;
}

/* The failure function of Knuth, Morris and Pratt. */
static void fill_fallback(const char *stop, uint32_t length, uint8_t *fallback) {
  uint32_t k = 0;
  fallback[0] = 0;
  for (uint32_t i = 1; i < length; i++) {
    while (k > 0 && stop[i] != stop[k]) k = fallback[k - 1];
    if (stop[i] == stop[k]) k++;
    fallback[i] = (uint8_t)k; /* at most length - 1 <= 255 */
  }
}

nk_status nk_text_stream_init(nk_text_stream *stream, const nk_stop *stops, uint32_t n_stops, size_t max_piece,
                              void *memory, nk_error *error) {
  memset(stream, 0, sizeof *stream);
  stream->stopped = -1;
  if (n_stops > NK_MAX_STOPS) {
    return nk_fail(error, NK_STATUS_DATA, "there are %u stop strings; allowed are at most %u", n_stops, NK_MAX_STOPS);
  }
  for (uint32_t i = 0; i < n_stops; i++) {
    nk_status status = check_stop(&stops[i], i, error);
    if (status != NK_STATUS_OK) return status;
  }
  size_t sum = stop_bytes(stops, n_stops);
  stream->stops = memory;
  stream->fallback = (uint8_t *)memory + sum;
  stream->text = (char *)memory + 2 * sum;
  stream->room = (size_t)text_room(max_piece); /* the caller has allocated it, so it fits */
  stream->max_piece = max_piece;
  stream->n_stops = n_stops;
  size_t at = 0;
  for (uint32_t i = 0; i < n_stops; i++) {
    stream->length[i] = (uint32_t)stops[i].length;
    memcpy(stream->stops + at, stops[i].bytes, stops[i].length);
    fill_fallback(stream->stops + at, stream->length[i], stream->fallback + at);
    at += stops[i].length;
  }
  stream->text[0] = '\0';
  return NK_STATUS_OK;
}

/* ---- Matching ---------------------------------------------------------------------------------------------------- */

/* Takes one byte of decoded text. Returns the length of the longest stop string that it completes, or 0. */
static uint32_t match_byte(nk_text_stream *stream, char byte) {
  uint32_t longest = 0;
  size_t at = 0;
  for (uint32_t i = 0; i < stream->n_stops; i++) {
    const char *stop = stream->stops + at;
    const uint8_t *fallback = stream->fallback + at;
    uint32_t k = stream->matched[i];
    while (k > 0 && stop[k] != byte) k = fallback[k - 1];
    if (stop[k] == byte) k++;
    /* k stays below the length between calls: the first complete one ends the text. */
    stream->matched[i] = k;
    if (k == stream->length[i] && k > longest) {
      longest = k;
      stream->stopped = (int32_t)i;
    }
    at += stream->length[i];
  }
  return longest;
}

/* Adds decoded bytes to the text [*used]. False when a stop string is complete; then *used is where it began. */
static bool add(nk_text_stream *stream, size_t *used, const char *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    stream->text[(*used)++] = bytes[i];
    uint32_t length = match_byte(stream, bytes[i]);
    if (length > 0) {
      *used -= length;
      return false;
    }
  }
  return true;
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* Takes one raw byte; as `add`. */
static bool decode_byte(nk_text_stream *stream, size_t *used, char byte) {
  stream->tail[stream->n_tail++] = byte;
  while (stream->n_tail > 0) {
    uint32_t length;
    nk_utf8 kind = nk_utf8_scan(stream->tail, stream->n_tail, &length);
    if (kind == NK_UTF8_CUT) return true; /* at most 3 bytes wait */
    bool whole = kind == NK_UTF8_WHOLE;
    if (!add(stream, used, whole ? stream->tail : NK_UTF8_REPLACEMENT, whole ? length : NK_UTF8_REPLACEMENT_BYTES))
      return false;
    stream->n_tail -= length;
    memmove(stream->tail, stream->tail + length, stream->n_tail);
  }
  return true;
}

/* Hands out text [used] but for its last `held` bytes. */
static void give(nk_text_stream *stream, size_t used, uint32_t held, const char **text, size_t *text_bytes) {
  memcpy(stream->hold, stream->text + used - held, held);
  stream->held = held;
  stream->text[used - held] = '\0';
  *text = stream->text;
  *text_bytes = used - held;
}

/* Puts what was held at the beginning of the text. */
static size_t take_up(nk_text_stream *stream) {
  memcpy(stream->text, stream->hold, stream->held);
  return stream->held;
}

/* The longest end of the text that a stop string may begin with: since stop strings and the text are whole code points, it
   starts at one. */
static uint32_t to_hold(const nk_text_stream *stream) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < stream->n_stops; i++) {
    if (stream->matched[i] > most) most = stream->matched[i];
  }
  return most;
}

nk_status nk_text_stream_push(nk_text_stream *stream, const char *bytes, size_t n, const char **text, size_t *text_bytes,
                              nk_error *error) {
  if (n > stream->max_piece || stream->stopped >= 0) {
    give(stream, 0, 0, text, text_bytes);
    if (stream->stopped >= 0) return NK_STATUS_OK;
    return nk_fail(error, NK_STATUS_INTERNAL, "a token of %zu bytes came where at most %zu were announced", n,
                   stream->max_piece);
  }
  size_t used = take_up(stream);
  bool open = true;
  for (size_t i = 0; i < n && open; i++) open = decode_byte(stream, &used, bytes[i]);
  give(stream, used, open ? to_hold(stream) : 0, text, text_bytes);
  return NK_STATUS_OK;
}

void nk_text_stream_flush(nk_text_stream *stream, const char **text, size_t *text_bytes) {
  if (stream->stopped >= 0) {
    give(stream, 0, 0, text, text_bytes);
    return;
  }
  size_t used = take_up(stream);
  if (stream->n_tail > 0) (void)add(stream, &used, NK_UTF8_REPLACEMENT, NK_UTF8_REPLACEMENT_BYTES);
  stream->n_tail = 0;
  memset(stream->matched, 0, sizeof stream->matched);
  give(stream, used, 0, text, text_bytes);
}

int32_t nk_text_stream_stop(const nk_text_stream *stream) { return stream->stopped; }
