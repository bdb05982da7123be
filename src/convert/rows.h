/* rows.h: the data of one tensor on its way: which rows are read together, and what becomes of them. */
#ifndef NOOK_CONVERT_ROWS_H
#define NOOK_CONVERT_ROWS_H

#include "convert/internal.h"

#define NK_ROWS_BYTES (1u << 20) /* of input read together, unless one unit of rows is larger */

/* One part of an output, [rows, cols], from source rows of the same length (turned: [cols, rows] in the file). */
typedef struct nk_rows {
  const nk_output *output;
  const nk_source_tensor *source;
  uint64_t unit;     /* rows that must be read together */
  uint64_t per_read; /* rows read together: whole units */
  uint64_t at;       /* the next row of the output */
  uint64_t group;    /* rows of a head, where heads move */
} nk_rows;

nk_rows nk_rows_begin(const nk_output *output, const nk_source_tensor *source, const nk_shape *shape);
/* Rows of the next block; 0 at the end. Of a turned tensor: the whole is read first, `per_read` rows are written at a time.
 */
uint64_t nk_rows_next(const nk_rows *rows);
/* Where the block's bytes lie in the file. */
void nk_rows_range(const nk_rows *rows, const nk_shape *shape, uint64_t n, uint64_t *offset, uint64_t *bytes);
/* Converts the block: raw is what nk_rows_range named (turned: the whole tensor), row [cols] is room for one row, out has
   room for n rows of the output. FORMAT for a number that cannot be stored. */
nk_status nk_rows_convert(nk_rows *rows, const nk_shape *shape, uint64_t n, const uint8_t *raw, float *row, uint8_t *out,
                          nk_error *error);

#endif
