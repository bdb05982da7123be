/*
 * machine.h: what a forward pass computes with: the kernels of one ISA and the threads. Belongs to the context; shared by
 * everything that runs in it.
 */
#ifndef NOOK_RUN_MACHINE_H
#define NOOK_RUN_MACHINE_H

#include "core/pool.h"
#include "kernels/kernels.h"
#include "kernels/vec.h"

typedef struct nk_machine {
  const nk_ops *ops;
  const nk_vec *vec;
  nk_pool *pool;
} nk_machine;

#endif
