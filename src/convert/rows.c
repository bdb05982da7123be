/* rows.c: see rows.h. */
#include "convert/rows.h"

#include <string.h>

static bool is_turned(const nk_rows *rows) { return rows->output->op == NK_OP_TURN; }

nk_rows nk_rows_begin(const nk_output *output, const nk_source_tensor *source, const nk_shape *shape) {
  nk_rows rows = {.output = output, .source = source, .unit = 1};
  nk_tensor_op op = output->op;
  if (op == NK_OP_PAIR_Q || op == NK_OP_PAIR_K || op == NK_OP_SPLIT) rows.unit = rows.group = shape->head_dim;
  uint64_t row_bytes = output->cols * source->item_bytes;
  rows.per_read = NK_ROWS_BYTES / row_bytes / rows.unit * rows.unit;
  /* Heads of the fused projection lie apart: one is read at a time. */
  if (rows.per_read < rows.unit || op == NK_OP_SPLIT) rows.per_read = rows.unit;
  return rows;
}

uint64_t nk_rows_next(const nk_rows *rows) {
  uint64_t left = rows->output->rows - rows->at;
  return left < rows->per_read ? left : rows->per_read;
}

/* The first source row of the block. */
static uint64_t first_row(const nk_rows *rows, const nk_shape *shape) {
  if (rows->output->op == NK_OP_DROP) return shape->family->dropped + rows->at;
  if (rows->output->op != NK_OP_SPLIT) return rows->at;
  uint64_t group = rows->at / rows->group, part = group / shape->heads, head = group % shape->heads;
  return (head * 3 + part) * rows->group;
}

void nk_rows_range(const nk_rows *rows, const nk_shape *shape, uint64_t n, uint64_t *offset, uint64_t *bytes) {
  uint64_t row_bytes = rows->output->cols * rows->source->item_bytes;
  *offset = rows->source->offset + (is_turned(rows) ? 0 : first_row(rows, shape) * row_bytes);
  *bytes = is_turned(rows) ? rows->source->bytes : n * row_bytes;
}

/* The row of the block that becomes row i of it: pairs (2i, 2i + 1) of a head come from (i, i + D / 2). */
static uint64_t row_from(const nk_rows *rows, uint64_t i) {
  if (rows->output->op != NK_OP_PAIR_Q && rows->output->op != NK_OP_PAIR_K) return i;
  uint64_t head = i / rows->group * rows->group, within = i % rows->group;
  return head + within % 2 * (rows->group / 2) + within / 2;
}

nk_status nk_rows_convert(nk_rows *rows, const nk_shape *shape, uint64_t n, const uint8_t *raw, float *row, uint8_t *out,
                          nk_error *error) {
  (void)shape;
  const nk_output *output = rows->output;
  const nk_source_tensor *source = rows->source;
  size_t cols = (size_t)output->cols, row_bytes = cols * source->item_bytes,
         out_bytes = (size_t)nk_encoded_bytes(output->type, cols);
  for (uint64_t i = 0; i < n; i++, out += out_bytes) {
    if (is_turned(rows)) {
      nk_decode(row, raw + (size_t)(rows->at + i) * source->item_bytes, source->type, cols, (size_t)output->rows);
    } else {
      nk_decode(row, raw + (size_t)row_from(rows, i) * row_bytes, source->type, cols, 1);
    }
    if (output->op == NK_OP_ADD_ONE) {
      for (size_t k = 0; k < cols; k++) row[k] += 1.0f;
    }
    size_t bad;
    if (nk_encode(out, row, output->type, cols, &bad)) continue;
    return nk_fail_hint(error, NK_STATUS_FORMAT, "Convert with --outtype f32, or look whether the checkpoint is sound.",
                        "the tensor \"%s\" holds %g, which %s cannot hold",
                        nk_label_of(source->name, strlen(source->name)).text, (double)row[bad],
                        output->type == NK_TYPE_F32   ? "no model"
                        : output->type == NK_TYPE_F16 ? "F16"
                                                      : "Q8_0");
  }
  rows->at += n;
  return NK_STATUS_OK;
}
