/* constants.c: see common.h for why these lie in memory and in a file of their own. */
#include "kernels/simd128/common.h"

#define FOUR(x) {x, x, x, x}
#define EIGHT(x) {x, x, x, x, x, x, x, x}

const nk_simd_constants_t nk_simd_constants __attribute__((aligned(16))) = {
    .nibble8 = {15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15},
    .nibble16 = EIGHT(0x000F),
    .second16 = EIGHT(0x00F0),
    .third16 = EIGHT(0x0F00),
    .odd_byte = EIGHT(0xFF00),
    .half_bits = FOUR(0x8FFFE000u),
    .half_scale = FOUR(0x1p112f),
    .minus8 = FOUR(-8.0f),
    .nibble32 = FOUR(0x0000000Fu),
};
