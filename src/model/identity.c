/* identity.c: which model this is; see model.h. */
#include <string.h>

#include "core/sha256.h"
#include "model/model.h"

#define SAMPLE_BYTES 4096u

/* The beginning, the middle and the end of a packed matrix. */
static void add_matrix(nk_sha256 *hash, const nk_matrix *m) {
  if (m->format == NULL) return;
  size_t bytes = (size_t)nk_matrix_bytes(m->format, m->rows, m->cols);
  if (bytes <= 3 * SAMPLE_BYTES) {
    nk_sha256_update(hash, m->data, bytes);
    return;
  }
  nk_sha256_update(hash, m->data, SAMPLE_BYTES);
  nk_sha256_update(hash, m->data + bytes / 2, SAMPLE_BYTES);
  nk_sha256_update(hash, m->data + bytes - SAMPLE_BYTES, SAMPLE_BYTES);
}

void nk_model_identity(const nk_model *model, uint8_t digest[32]) {
  nk_sha256 hash;
  nk_sha256_init(&hash);
  nk_sha256_update(&hash, model->header_hash, sizeof model->header_hash);
  add_matrix(&hash, &model->embedding);
  for (uint32_t i = 0; i < model->config.n_layers; i++) {
    const nk_layer *l = &model->layers[i];
    for (uint32_t j = 0; j < l->n_qkv; j++) add_matrix(&hash, &l->qkv[j].matrix);
    add_matrix(&hash, &l->attn_out.matrix);
    add_matrix(&hash, &l->gate.matrix);
    add_matrix(&hash, &l->up.matrix);
    add_matrix(&hash, &l->down.matrix);
  }
  if (!model->tied) add_matrix(&hash, &model->head.matrix);
  nk_sha256_final(&hash, digest);
}
