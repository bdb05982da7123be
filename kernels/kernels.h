/*
 * kernels.h: arithmetic on packed weights. The contract {pack, unpack, gather, gemv, gemm, gemm_t} of every block format.
 *
 * A weight matrix W [rows, cols] arrives as the file's blocks (row-major, each row a run of blocks along cols) and is
 * packed once into groups of 8 rows. The one packed copy serves everything: row gather (embedding), y = x Wᵀ for one token
 * and for many, dx += dy W (training), and unpacks byte-equal to the file's blocks. It takes no more bytes than the file,
 * except that the last group is filled up to 8 rows with zeros.
 *
 * Determinism   Each output element is summed by one thread, over k in ascending order, with integer sums inside a block of
 *               32. So the bits don't depend on how many tokens share a call, how rows are split over threads, or on the
 *               tile. SCALAR and SIMD128 give equal bits; RELAXED may fuse multiply and add, so its last float bits differ.
 * ISA           SCALAR is the specification. SIMD128 is WebAssembly's base SIMD (natively through SIMDe). RELAXED adds
 *               relaxed SIMD, and is used only after nk_kernels_check() has compared it with SCALAR on this very machine.
 * Over-read     None: a kernel reads only packed groups and activations that it was given.
 *
 * To add a format: one line in formats.def, one file kernels/formats/<name>.c, one fixture (docs/add-a-kernel.md).
 */
#ifndef NOOK_KERNELS_KERNELS_H
#define NOOK_KERNELS_KERNELS_H

#include "core/status.h"

#define NK_GROUP_ROWS 8u   /* rows that are packed together */
#define NK_ACT_BLOCK 32u   /* elements that share one activation scale */

typedef enum nk_isa { NK_ISA_SCALAR = 0, NK_ISA_SIMD128 = 1, NK_ISA_RELAXED = 2 } nk_isa;

typedef struct nk_format nk_format; /* one row of the format table, see formats.h */
typedef struct nk_ops nk_ops;       /* the kernels of one ISA, see ops.h */

/* A packed matrix. The bytes belong to the weights arena. */
typedef struct nk_matrix {
  const nk_format *format;
  uint32_t rows, cols;
  uint8_t *data; /* [ceil(rows / 8)] groups, each 8 × row bytes of the file; 64-byte aligned */
} nk_matrix;

/* ---- Formats -------------------------------------------------------------------------------------------------- */

/* The format with the GGUF type number `type`; NULL when Nook has none. */
const nk_format *nk_format_find(uint32_t type);
uint32_t nk_format_count(void);
const nk_format *nk_format_at(uint32_t index);
const char *nk_format_name(const nk_format *format);    /* "Q4_1" */
uint32_t nk_format_type(const nk_format *format);       /* GGUF's number */
uint32_t nk_format_block(const nk_format *format);      /* elements of a block */
uint32_t nk_format_block_bytes(const nk_format *format);
bool nk_format_is_float(const nk_format *format);       /* F32, F16, BF16: no integer product */
/* The name of a GGUF type number, also of those without a format here ("IQ2_XXS"); NULL for an unknown number. */
const char *nk_type_name(uint32_t type);

/* Bytes of `cols` elements in the file. cols must be a multiple of the block. */
uint64_t nk_row_bytes(const nk_format *format, uint64_t cols);
/* Bytes of the packed matrix. */
uint64_t nk_matrix_bytes(const nk_format *format, uint64_t rows, uint64_t cols);

/* ---- Packing -------------------------------------------------------------------------------------------------- */

/* Packs rows [row, row + n) from the file's blocks. row is a multiple of 8; n is one too unless the rows end there.
   A scale that is Inf or NaN is FORMAT (the message says which row). */
nk_status nk_matrix_pack(nk_matrix *matrix, uint32_t row, uint32_t n, const uint8_t *blocks, nk_error *error);
/* The inverse, byte for byte. Any row, any n within the matrix. */
void nk_matrix_unpack(const nk_matrix *matrix, uint32_t row, uint32_t n, uint8_t *blocks);
/* Row `row` as float32: out [cols]. Exactly the format's dequantization. */
void nk_matrix_gather(const nk_matrix *matrix, uint32_t row, float *out);

/* ---- Products ------------------------------------------------------------------------------------------------- */

/* The kernels of an ISA; NULL where this build lacks them. */
const nk_ops *nk_ops_get(nk_isa isa);
nk_isa nk_ops_isa(const nk_ops *ops);
/* Compares every kernel of `ops` with SCALAR on small seeded matrices; INTERNAL with the kernel's name when one differs. */
nk_status nk_kernels_check(const nk_ops *ops, nk_error *error);

/* Quantized activations of m tokens × k elements (k a multiple of 32): int8 with one f32 scale a block of 32
   (d = max|x| / 127, q = round-half-even(x / d)) and the sums of the levels, in the order that the ISA's kernels read. */
uint64_t nk_act_bytes(const nk_ops *ops, uint32_t m, uint32_t k);
void nk_act_quantize(const nk_ops *ops, void *act, const float *x /* [m, k], row stride ldx */, size_t ldx, uint32_t m,
                     uint32_t k);
/* The quantized activations as the kernels see them, dequantized: x [m, k]. For tests and straight-through training. */
void nk_act_dequantize(const nk_ops *ops, float *x, size_t ldx, const void *act, uint32_t m, uint32_t k);

/* y[t, r] = Σ_k x[t, k] W[r, k] for r in [8·group, 8·(group + n_groups)) ∩ [0, rows); y [m, rows] with row stride ldy.
   Only the columns of those rows are written. matrix->format must not be a float format. */
void nk_gemm_q8(const nk_ops *ops, float *y, size_t ldy, const nk_matrix *matrix, const void *act, uint32_t m,
                uint32_t group, uint32_t n_groups);

/* The same with float32 activations x [m, cols], for every format; weights are dequantized exactly. */
void nk_gemm_f32(const nk_ops *ops, float *y, size_t ldy, const nk_matrix *matrix, const float *x, size_t ldx, uint32_t m,
                 uint32_t group, uint32_t n_groups);

/* dx[t, k] += Σ_r dy[t, r] W[r, k] for k in [k0, k0 + n_k), k0 and n_k multiples of 32 (or to the end of cols); r
   ascending. dx [m, cols] stride lddx, dy [m, rows] stride lddy. scratch: nk_gemm_t_scratch_bytes(), one a thread. */
void nk_gemm_t_f32(const nk_ops *ops, float *dx, size_t lddx, const nk_matrix *matrix, const float *dy, size_t lddy,
                   uint32_t m, uint32_t k0, uint32_t n_k, void *scratch);
uint64_t nk_gemm_t_scratch_bytes(void);

#endif
