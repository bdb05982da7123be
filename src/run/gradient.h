/*
 * gradient.h: the loss of a row of examples and its gradient, a bounded step at a time.
 *
 *   forward (the pass that reads) → loss at the labelled entries → backward, from the last layer to the lowest that learns
 *
 * Loss      The label at index i is the id wanted there; entry i - 1 of the same example predicts it. -100: not scored. The
 *           loss is the sum of -log p; gradients are of that sum times `weight` (one over the labels of the whole batch),
 *           and are added up, so that a batch of several rows is one mean.
 * Learns    The values of an adapter (applied with scale 1), or, for models in F32, every tensor of the model
 *           (options.weights): then gradients are in the order of nk_gradient_weight.
 * Memory    All is carved beforehand. Within options.memory as many of the last layers as fit keep a record of their own;
 *           the others share one, and run forward a second time on the way back. That changes no bit.
 * Bits      The same on any number of threads.
 */
#ifndef NOOK_RUN_GRADIENT_H
#define NOOK_RUN_GRADIENT_H

#include "adapt/adapter.h"
#include "run/machine.h"

#define NK_NOT_SCORED (-100)

typedef struct nk_gradient nk_gradient;

typedef struct nk_gradient_options {
  uint32_t tokens;        /* entries of a row at most, with those of a prompt */
  bool float_activations; /* as in nk_session_options */
  uint64_t memory;        /* bytes for records; at least one layer's is taken; 0: as many as there are layers */
  bool weights;           /* every tensor learns; without an adapter */
} nk_gradient_options;

typedef struct nk_gradient_plan {
  uint64_t bytes;     /* of everything: buffers, records, gradients */
  uint64_t records;   /* of these, records */
  uint32_t kept;      /* layers with a record of their own */
} nk_gradient_plan;

/* Entries of one row: ids below 0, -1 - i, are vector i of the prompt. All [n]. */
typedef struct nk_row {
  const int32_t *ids, *labels;
  const uint32_t *starts; /* the entry at which each entry's example begins */
  uint32_t n;
} nk_row;

/* Needs a bound model (measured is enough); the adapter may be NULL with options.weights. Saturates. */
nk_gradient_plan nk_gradient_measure(const nk_model *model, const nk_machine *machine, const nk_adapter *adapter,
                                     const nk_gradient_options *options);
/* The adapter's values may change between rows; it and the model must outlive the gradient. UNSUPPORTED for an encoder, for
   weights that are not F32; DATA for options out of range. */
nk_status nk_gradient_create(nk_gradient **out, const nk_model *model, const nk_machine *machine, const nk_adapter *adapter,
                             const nk_gradient_options *options, nk_error *error);
void nk_gradient_free(nk_gradient *gradient); /* NULL is fine */

/* Of the adapter's values, or of all weights: [n], owned. */
float *nk_gradient_values(nk_gradient *gradient, uint64_t *n);
/* With options.weights: the gradient of a tensor of the model by its data (a matrix's data or a vector), [rows, cols]; NULL
   when that is none. */
float *nk_gradient_weight(nk_gradient *gradient, const void *data);

/* A row begins. backward false: only its loss. dropout_key: of LoRA's dropout, unless there is none; without backward there
   is none either. The row is kept by the caller until it is done. DATA for an id or label out of range, a row too long. */
nk_status nk_gradient_begin(nk_gradient *gradient, const nk_row *row, bool backward, double weight, uint64_t dropout_key,
                            nk_error *error);
/* A bounded piece of work. */
void nk_gradient_step(nk_gradient *gradient, bool *done);
/* Of the row that is done: the sum of -log p, and over how many labels. */
double nk_gradient_loss(const nk_gradient *gradient);
uint32_t nk_gradient_scored(const nk_gradient *gradient);

#endif
