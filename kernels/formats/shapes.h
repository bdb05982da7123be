/*
 * shapes.h: where the parts of each format of 256 elements a block lie, for its packing and its kernels of every
 * instruction set. Private to kernels/.
 */
#ifndef NOOK_KERNELS_SHAPES_H
#define NOOK_KERNELS_SHAPES_H

#include <stdbool.h>
#include <stdint.h>

/* Every member is a constant where it is used. */
typedef struct nk_super {
  uint32_t file_bytes, file_d, n_d;      /* of a block; where d is in it; 1, or 2 with dmin behind d */
  uint32_t file_scales, n_scales;        /* bytes of sub-scales */
  uint32_t packed_scales, packed_levels; /* offsets in a packed super-block of 8 rows; d is at 0, dmin at 16 */
  uint32_t block_bytes;                  /* of the levels of 8 rows × 32, packed */
  int32_t offset;                        /* subtracted from each level */
  bool halves;                           /* a sub-scale for each 16 elements, not for each 32 */
} nk_super;

#define NK_SHAPE_Q4_K \
  {.file_bytes = 144, .file_d = 0, .n_d = 2, .file_scales = 4, .n_scales = 12, \
   .packed_scales = 32, .packed_levels = 128, .block_bytes = 128, .offset = 0, .halves = false}
#define NK_SHAPE_Q5_K \
  {.file_bytes = 176, .file_d = 0, .n_d = 2, .file_scales = 4, .n_scales = 12, \
   .packed_scales = 32, .packed_levels = 128, .block_bytes = 160, .offset = 0, .halves = false}
#define NK_SHAPE_Q6_K \
  {.file_bytes = 210, .file_d = 208, .n_d = 1, .file_scales = 192, .n_scales = 16, \
   .packed_scales = 16, .packed_levels = 144, .block_bytes = 192, .offset = 32, .halves = true}
#define NK_SHAPE_Q3_K \
  {.file_bytes = 110, .file_d = 108, .n_d = 1, .file_scales = 96, .n_scales = 12, \
   .packed_scales = 16, .packed_levels = 112, .block_bytes = 96, .offset = 4, .halves = true}
#define NK_SHAPE_Q2_K \
  {.file_bytes = 84, .file_d = 80, .n_d = 2, .file_scales = 0, .n_scales = 16, \
   .packed_scales = 32, .packed_levels = 160, .block_bytes = 64, .offset = 0, .halves = true}
#define NK_SHAPE_IQ4_XS \
  {.file_bytes = 136, .file_d = 0, .n_d = 1, .file_scales = 2, .n_scales = 6, \
   .packed_scales = 16, .packed_levels = 64, .block_bytes = 128, .offset = 127, .halves = false}

#endif
