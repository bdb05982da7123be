/* iq4_nl.h: the table of IQ4_NL's levels, which are IQ4_XS's too, shared by their kernels. Private to kernels/. */
#ifndef NOOK_KERNELS_IQ4_NL_H
#define NOOK_KERNELS_IQ4_NL_H

#include <stdint.h>

/* The value of each index, plus 127. Ascending. */
extern const uint8_t nk_iq4_nl_levels[16];

#endif
