/*
 * nook.h: the public interface of the engine. Everything that JavaScript, the native tests and the fuzzers call is here.
 *
 * A nook_context is one engine: one model, one session, its error, its threads. There are no globals; two contexts in one
 * module work. Calls on one context are made by one thread at a time (helper threads live in nook_thread_main). Unless a
 * function says so, its context must not be NULL.
 *
 * Results   Every call returns an nk_status (0 = OK). nook_error() gives the sentence as JSON.
 * Strings   UTF-8, NUL-terminated; JSON where named so. A returned string belongs to the context and lives until the
 *           next call that returns a string of that kind (`info`, `error`, `result` are separate).
 * Options   JSON objects, checked by key and type: an unknown key is an error that names it. NULL or "" means {}.
 * Learning  Adapters and training: nook_learn.h.
 * Waiting   C never waits. Long work is begin / step / end; a step takes some 50 ms. Between steps the host may do
 *           anything, stop included. Bytes of files are asked for (nook_want) and written by the host into memory named
 *           here.
 */
#ifndef NOOK_H
#define NOOK_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#if defined(__wasm__)
#define NOOK_API __attribute__((visibility("default"), used))
#else
#define NOOK_API __attribute__((visibility("default")))
#endif

typedef struct nook_context nook_context;

/* ---- Context -------------------------------------------------------------------------------------------------- */

/* options {isa?: "auto"|"scalar"|"simd128"|"relaxed" (default "auto": the best of this build that passes its self-check),
   threads?: 1..64, check?: bool (default true; false: without the self-check, for who makes many on one machine)}. NULL
   only when memory is out. Whatever else goes wrong is in *status and nook_error(); such a context loads nothing and waits
   to be destroyed. */
NOOK_API nook_context *nook_create(const char *options, nk_status *status);
/* Frees everything. Helper threads must have left nook_thread_main (nook_threads_stop first). NULL is fine. */
NOOK_API void nook_destroy(nook_context *context);

/* {"code", "message", "hint"} of the last call that failed. */
NOOK_API const char *nook_error(nook_context *context);
/* Facts of the build, so that no constant is typed twice: {"status": {"format": 2, …}, "event": {"token": 1, …},
   "tokenize": {"add_special": 1}, "structs": {"nook_want": {"size": n, "fields": {"offset": {"offset": 0, "type": "u64"},
   …}}, …}, "isa": [...], "threads": bool, "formats": ["F32", …], "architectures": ["llama", …]}. Needs no context. The
   caller frees the text with nook_release; NULL when memory is out. */
NOOK_API char *nook_constants(void);

/* A helper thread's life: waits for work until nook_threads_stop. index in [1, threads), each once; any other returns at
   once. */
NOOK_API void nook_thread_main(nook_context *context, uint32_t index);
NOOK_API void nook_threads_stop(nook_context *context);

/* Memory for arguments, freed by nook_release. NULL when out. */
NOOK_API void *nook_reserve(size_t bytes);
NOOK_API void nook_release(void *memory);

/* ---- Loading a model -------------------------------------------------------------------------------------------- */

/* What the host must supply before the next nook_load_step: `length` bytes of file `file` from `offset`, written to
   `destination`. length 0: nothing wanted. Offsets ascend within the data of one file, so a download can be streamed. */
typedef struct nook_want {
  uint64_t offset;
  uint64_t done, total; /* bytes of all files consumed so far, and in all: progress */
  uint8_t *destination;
  uint32_t length;
  uint32_t file;
  uint32_t finished; /* 1: the model is loaded (or, with plan, its header understood) */
} nook_want;

/* files: JSON {"files": [{"bytes": n, "sha256"?: hex}], "plan"?: true (headers only: nook_info gives the memory plan),
   "context"?: tokens (default min(trained, 4096)), "kv"?: "f16"|"f32"|"q8", "activations"?: "auto"|"f32", "batch"?:
   tokens}. activations "f32" makes kv default to "f32". Facts of an earlier plan are forgotten. */
NOOK_API nk_status nook_load_begin(nook_context *context, const char *options);
/* Consumes what was wanted (written whole) and says what is wanted next. On any error nothing is loaded and the context can
   load again. */
NOOK_API nk_status nook_load_step(nook_context *context, nook_want *want);
NOOK_API void nook_load_cancel(nook_context *context);
/* Ends whatever is under way, loading included, and frees the model and its session; the context can load another. */
NOOK_API void nook_unload(nook_context *context);

/* Facts of the loaded (or planned) model, JSON; "{}" when there is none: {architecture, name, license, parameters, bytes,
   types: {Q4_1: n, …}, context, trained_context, vocabulary, sizes: {layers, width, feed_forward, heads, kv_heads,
   head_dim, window, tied}, tokenizer, template (string or null), bos, eos, encoder, pooling, memory: {weights, kv, work,
   total} in bytes,
   isa, threads, activations, kv_type, header_sha256, unsupported: [...]}. memory is everything that the model, its session
   and a generation take, but for log-probabilities and a max_tokens beyond the context. */
NOOK_API const char *nook_info(nook_context *context);

/* ---- Tokens ------------------------------------------------------------------------------------------------------ */

#define NOOK_TOKENIZE_ADD_SPECIAL 1u /* BOS and the like, as the file says */

/* One span: bytes [start, start + length) of the text; flags bit 0: parse control tokens. */
typedef struct nook_span {
  uint32_t start, length, parse_special;
} nook_span;

/* ids: points to *count ids that belong to the context until the next call of this function. */
NOOK_API nk_status nook_tokenize(nook_context *context, const char *text, uint32_t bytes, const nook_span *spans,
                                 uint32_t n_spans, uint32_t flags, const int32_t **ids, uint32_t *count);
/* special: control tokens by their text instead of nothing. The text is bytes (maybe not UTF-8) owned by the context. */
NOOK_API nk_status nook_detokenize(nook_context *context, const int32_t *ids, uint32_t count, uint32_t special,
                                   const char **text, uint32_t *bytes);

/* ---- Evaluation: logits, perplexity, embeddings, choices ---------------------------------------------------------- */

/* Evaluates ids and hands out a row for every position from `from` on. options {"output"?: "logits" (default) | "hidden"
   (states after the last norm) | "nll" (-log p of the next token, f64) | "vector" (one row, with the last step: the text's
   embedding), "chunk"?: tokens a forward pass, "from"?: first position that is wanted (default 0), "reuse"?: bool (default
   true: keep the common prefix of the KV cache), and for a vector "pooling"?: "auto" (the file's) | "mean" | "cls" |
   "last", "normalize"?: bool (default true: length 1)}. Encoders have hidden states and vectors only. */
NOOK_API nk_status nook_eval_begin(nook_context *context, const int32_t *ids, uint32_t count, const char *options);
typedef struct nook_rows {
  const float *values; /* [n_rows, columns], valid until the next step; NULL with nll */
  const double *nll;   /* [n_rows] with nll (the last position has none) */
  uint32_t columns;    /* vocabulary for logits, the model's width otherwise */
  uint32_t first, n_rows; /* position of the first row */
  uint32_t done, total;   /* tokens evaluated, and to evaluate */
  uint32_t finished;
} nook_rows;
NOOK_API nk_status nook_eval_step(nook_context *context, nook_rows *rows);
NOOK_API void nook_eval_end(nook_context *context);

/* Log-probabilities of a closed set of continuations; the prompt is evaluated once. ids: the prompt; choice i is
   choice_ids[choice_start[i] .. choice_start[i + 1]). After the last step, result() is JSON {"choices": [{"logprob": sum,
   "tokens": n}]} . */
NOOK_API nk_status nook_choices_begin(nook_context *context, const int32_t *ids, uint32_t count, const int32_t *choice_ids,
                                      const uint32_t *choice_start, uint32_t n_choices);
NOOK_API nk_status nook_choices_step(nook_context *context, nook_rows *progress);
NOOK_API void nook_choices_end(nook_context *context);

/* ---- Generation ---------------------------------------------------------------------------------------------------- */

/* options: {"max_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "frequency_penalty",
   "presence_penalty", "penalty_window", "logit_bias": {"id": bias}, "seed", "stop": [strings], "logprobs": n,
   "ignore_end": bool, "context_full": "stop"|"shift", "keep": tokens, "reuse": bool, "chunk": tokens of the prompt a
   forward pass at most}. */
NOOK_API nk_status nook_generate_begin(nook_context *context, const int32_t *ids, uint32_t count, const char *options);

typedef enum nook_event_type {
  NOOK_EVENT_PREFILL = 0, /* the prompt is being read: done of total tokens (cached ones count as done) */
  NOOK_EVENT_TOKEN = 1,   /* one token was drawn; `text` is what may be shown now, maybe empty (held back) */
  NOOK_EVENT_SHIFT = 2,   /* the middle of the context was dropped: `dropped` tokens so far in all */
  NOOK_EVENT_DONE = 3,    /* finished; nook_result() has finish_reason, usage, logprobs */
  NOOK_EVENT_STEP = 4,    /* a piece of a token's work was done: large models take several steps a token */
} nook_event_type;

typedef struct nook_event {
  uint32_t type;
  int32_t token;
  const char *text; /* whole code points, NUL-terminated, until the next step; "" when there is none */
  uint32_t text_bytes;
  float logprob; /* of the token under the model, before temperature and filters; 0 unless logprobs were asked for */
  uint32_t done, total;
  uint32_t dropped;
} nook_event;

NOOK_API nk_status nook_generate_step(nook_context *context, nook_event *event);
/* Ends at once wherever it is; what was generated counts, finish_reason becomes "abort" unless already done. */
NOOK_API void nook_generate_end(nook_context *context);

/* JSON of the last finished generation {"finish_reason": "stop"|"length"|"context_full"|"abort", "stop"?: string, "usage":
   {prompt_tokens, completion_tokens, total_tokens, cached_tokens}, "ids": [...], "logprobs"?: [...], "dropped": n} or
   choices. */
NOOK_API const char *nook_result(nook_context *context);

/* Forgets the KV cache (kept memory, no reuse). Nothing happens while an operation is under way. */
NOOK_API void nook_session_clear(nook_context *context);

/* ---- Converting a checkpoint ---------------------------------------------------------------------------------------- */

/* One step of a conversion. First write the output, then fetch what is wanted, then call again. */
typedef struct nook_conversion {
  uint64_t offset;      /* wanted: `length` bytes of file `file` from `offset`, into `destination`; length 0: nothing */
  uint64_t done, total; /* bytes taken in, and in all as far as known: progress */
  uint8_t *destination;
  const uint8_t *output; /* `output_bytes` bytes to append to the new file; they live until the next step */
  uint32_t length, file, output_bytes;
  uint32_t finished; /* 1: the file is whole; nook_result() is {"architecture", "tensors", "bytes", "notes": [strings]} */
} nook_conversion;

/* A folder of Hugging Face safetensors becomes a GGUF file. options {"files": [{"name": path in the folder, "bytes": n}],
   all files of the folder; "outtype"?: "f32"|"f16"|"q8_0" (default "f16") of the matrices, "name"?: general.name}. What
   cannot be converted, or could not be run afterwards, is refused before any output. */
NOOK_API nk_status nook_convert_begin(nook_context *context, const char *options);
/* After a failure the conversion has ended. */
NOOK_API nk_status nook_convert_step(nook_context *context, nook_conversion *step);
NOOK_API void nook_convert_end(nook_context *context);

/* ---- Hashing ------------------------------------------------------------------------------------------------------- */

/* Incremental SHA-256 for files that the host streams past. NULL when out of memory. */
typedef struct nook_sha256 nook_sha256;
NOOK_API nook_sha256 *nook_sha256_create(void);
NOOK_API void nook_sha256_update(nook_sha256 *hash, const uint8_t *bytes, size_t length);
/* 32 bytes out; the state may go on afterwards. */
NOOK_API void nook_sha256_digest(const nook_sha256 *hash, uint8_t digest[32]);
NOOK_API void nook_sha256_destroy(nook_sha256 *hash);

#endif
