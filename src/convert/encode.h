/*
 * encode.h: numbers of a checkpoint to float32, and float32 to the types that a conversion writes.
 *
 * F16    to nearest, ties to even. A number beyond its range is an error that names it, never an infinity.
 * Q8_0   blocks of 32: d = max|x| / 127 in float32, q = x · (1 / d) to the nearest integer, halves away from zero, then d
 * to F16: byte for byte what gguf-py and llama.cpp write.
 */
#ifndef NOOK_CONVERT_ENCODE_H
#define NOOK_CONVERT_ENCODE_H

#include "convert/safetensors.h"

/* GGUF's numbers of the types that are written. */
enum { NK_TYPE_F32 = 0, NK_TYPE_F16 = 1, NK_TYPE_Q8_0 = 8 };

#define NK_Q8_0_BLOCK 32u

/* n numbers of the dtype (not OTHER) at `in`, `stride` numbers apart, to out [n]. Little-endian, unaligned. */
void nk_decode(float *out, const uint8_t *in, nk_dtype type, size_t n, size_t stride);

/* Bytes of n numbers; n is whole blocks. */
uint64_t nk_encoded_bytes(uint32_t type, uint64_t n);

/* in [n] to out. False when a number is not finite or beyond the type: *bad is its index. */
bool nk_encode(uint8_t *out, const float *in, uint32_t type, size_t n, size_t *bad);

/* The value of a half, infinity and NaN included (nk_half_to_f32 of kernels/formats.h is for finite ones). */
float nk_from_half(uint16_t half);

#endif
