/* constants.c: see common.h for why these lie in memory and in a file of their own. */
#include "kernels/formats/fives.h"
#include "kernels/simd128/common.h"

#define FOUR(x) {x, x, x, x}
#define EIGHT(x) {x, x, x, x, x, x, x, x}
#define SIXTEEN(x) {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}

const nk_simd_constants_t nk_simd_constants __attribute__((aligned(16))) = {
    .nibble8 = SIXTEEN(0x0F),
    .nibble16 = EIGHT(0x000F),
    .second16 = EIGHT(0x00F0),
    .third16 = EIGHT(0x0F00),
    .odd_byte = EIGHT(0xFF00),
    .even_byte = EIGHT(0x00FF),
    .half_bits = FOUR(0x8FFFE000u),
    .half_scale = FOUR(0x1p112f),
    .minus8 = FOUR(-8.0f),
    .nibble32 = FOUR(0x0000000Fu),
    .minus16 = FOUR(-16.0f),
    .minus127 = FOUR(-127.0f),
    .five8 = FOUR(NK_FIVES_EACH(31)),
    .five_low3 = FOUR(NK_FIVES_EACH(7)),
    .five_high2 = FOUR(NK_FIVES_EACH(24)),
    .five_fourth = FOUR(NK_FIVES_EACH(8)),
    .five_fifth = FOUR(NK_FIVES_EACH(16)),
    .byte32 = FOUR(0x000000FFu),
    .six8 = SIXTEEN(0x3F),
    .top8 = SIXTEEN(0xC0),
    .three8 = SIXTEEN(0x07),
    .two8 = SIXTEEN(0x03),
    .fifth8 = SIXTEEN(0x10),
};
