/*
 * internal.h: what the files of src/tokenizer share. Nothing outside of this folder includes it.
 *
 * A tokenizer is a vocabulary, the special tokens found in text, and one model kind: a row of the table in tokenizer.c with
 * one file (bpe.c, ...). All of it lies in one arena that nk_tokenizer_create sizes by running the kind's `lay_out` first
 * on a measuring arena; `fill` then writes the tables. Encoding changes none of it.
 */
#ifndef NOOK_TOKENIZER_INTERNAL_H
#define NOOK_TOKENIZER_INTERNAL_H

#include "core/arena.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"

/* Longest walk through a hash table; a file made to collide is refused instead of taking quadratic time. (Linear probing at
   3/4 load: a random table of a million entries stays below 400.) */
#define NK_MAX_PROBES 1024u
#define NK_NONE UINT32_MAX

/* tokenizer.ggml.token_type; the same numbers. The other two are bits of our own beside them. */
enum {
  NK_TOKEN_NORMAL = 1,
  NK_TOKEN_UNKNOWN = 2,
  NK_TOKEN_CONTROL = 3,
  NK_TOKEN_USER = 4,
  NK_TOKEN_UNUSED = 5,
  NK_TOKEN_BYTE = 6
};
#define NK_TOKEN_TYPE 0x07u
#define NK_TOKEN_END 0x80u   /* ends a generation */
#define NK_TOKEN_STRIP 0x40u /* a special token that takes the white space after it along */

/* ---- Vocabulary (vocab.c) -------------------------------------------------------------------------------------- */

typedef struct nk_vocab {
  char *texts;       /* all tokens' bytes, one behind the other */
  uint32_t *offsets; /* [n + 1] where each token's begin, and where the last one's end */
  uint8_t *types;    /* [n] NK_TOKEN_* */
  uint32_t *slots;   /* [mask + 1] id + 1 of tokens that text may become; 0: free */
  uint32_t n, mask;
  uint32_t longest; /* bytes of the longest token in slots */
} nk_vocab;

/* Slots of a table of n entries: a power of two, at most 3/4 full. */
uint32_t nk_slots_for(uint32_t n);
/* Reads the counts (tokens and token_type must agree) and carves. */
nk_status nk_vocab_lay_out(nk_vocab *vocab, const nk_gguf *gguf, nk_arena *arena, nk_error *error);
/* Writes the tables; tokens of the types CONTROL, UNKNOWN and BYTE are not findable by their text. */
nk_status nk_vocab_fill(nk_vocab *vocab, const nk_gguf *gguf, nk_error *error);
nk_text nk_vocab_text(const nk_vocab *vocab, uint32_t id); /* id < n */
static inline unsigned nk_vocab_type(const nk_vocab *vocab, uint32_t id) { return vocab->types[id] & NK_TOKEN_TYPE; }
/* The token whose text is a followed by b, or NK_NONE. */
uint32_t nk_vocab_find(const nk_vocab *vocab, const void *a, size_t n_a, const void *b, size_t n_b);

/* The hash of a text, byte by byte (FNV-1a, 64 bits), so that every beginning of a text may be looked up in turn. */
#define NK_HASH_EMPTY 0xCBF29CE484222325u
static inline uint64_t nk_hash_more(uint64_t hash, uint8_t byte) { return (hash ^ byte) * 0x100000001B3u; }
/* nk_vocab_find where the hash of text [n], n > 0, is known. */
uint32_t nk_vocab_find_hashed(const nk_vocab *vocab, uint64_t hash, const uint8_t *text, size_t n);

/* The first token of any type with this text, or NK_NONE. Linear: for creation only. */
uint32_t nk_vocab_scan(const nk_vocab *vocab, const char *text);

/* Scores and byte tokens of SentencePiece's two models (spm.c). */

/* Carves [n] scores. FORMAT where tokenizer.ggml.scores has not n. */
nk_status nk_scores_lay_out(float **scores, const nk_gguf *gguf, uint32_t n, nk_arena *arena, nk_error *error);
/* Finite numbers, whatever the file says: others would unsettle every order. */
void nk_scores_fill(float *scores, const nk_gguf *gguf, uint32_t n);
/* ids [256] of the tokens <0xHH> of type BYTE, NK_NONE where there is none. */
void nk_bytes_fill(uint32_t ids[256], const nk_vocab *vocab);

/* ---- Special tokens in text (special.c) ------------------------------------------------------------------------ */

#define NK_MAX_RUN 64u /* spaces of a user-defined token that stands for a run of them (Gemma's have 2 to 31) */

typedef struct nk_specials {
  uint32_t *ids;       /* [n] CONTROL, UNKNOWN and USER tokens, sorted by their bytes */
  uint32_t n, room;    /* n <= room, which was carved */
  uint32_t n_user;     /* of them USER */
  uint32_t first[257]; /* ids[first[b] .. first[b + 1]) begin with byte b */
  /* The USER token of n spaces, NK_NONE where there is none; longest_run 0: of no n, or U+2581 is no space here. */
  uint32_t runs[NK_MAX_RUN + 1], longest_run;
} nk_specials;

/* True for tokens that nk_specials_fill takes in. */
bool nk_is_special(unsigned type, uint32_t length);
void nk_specials_fill(nk_specials *specials, const nk_vocab *vocab);
/* The longest special token at text[at], ending at or before `end`; control tokens only up to `trusted_end` and USER ones
   only with `user`. *length is its bytes; NK_NONE: there is none. */
uint32_t nk_specials_match(const nk_specials *specials, const nk_vocab *vocab, const uint8_t *text, size_t at, size_t end,
                           size_t trusted_end, bool user, size_t *length);

/* Of SentencePiece's vocabularies, in which U+2581 is a space: finds the runs. */
void nk_specials_find_runs(nk_specials *specials, const nk_vocab *vocab);
/* The token of a run of spaces at text[at] that has a U+2581 among them; *length is its bytes; NK_NONE: there is none. */
uint32_t nk_specials_run(const nk_specials *specials, const uint8_t *text, size_t at, size_t end, size_t *length);

/* ---- Encoding -------------------------------------------------------------------------------------------------- */

typedef struct nk_sink {
  int32_t *ids; /* [capacity] */
  size_t capacity, count;
} nk_sink;

static inline void nk_sink_put(nk_sink *sink, uint32_t id) {
  if (sink->count < sink->capacity) sink->ids[sink->count] = (int32_t)id;
  sink->count++;
}

/* A piece of working memory of one encode call. */
typedef struct nk_buffer {
  void *memory;
  size_t bytes;
} nk_buffer;

/* At least count × bytes; what was in it is lost. NULL: out of memory. */
void *nk_buffer_need(nk_buffer *buffer, size_t count, size_t bytes);

typedef struct nk_scratch {
  nk_buffer codes, more, work, word;
} nk_scratch;

/* ---- Model kinds ----------------------------------------------------------------------------------------------- */

typedef struct nk_bpe {
  const nk_pretokenizer *pre;
  uint32_t byte_id[256]; /* NK_NONE: the vocabulary has no token for it */
  uint32_t *merges;      /* [n, 3] left, right, result in file order: the position is the rank */
  uint32_t *slots;       /* [mask + 1] position + 1, by (left, right); 0: free */
  uint32_t n, mask;
} nk_bpe;

typedef struct nk_spm {
  float *scores;         /* [n_vocab] finite */
  uint32_t byte_id[256]; /* NK_NONE: the vocabulary has no token for it */
  uint32_t unknown;      /* for what has neither a token nor byte tokens; NK_NONE: that is left out */
  bool space_prefix;     /* a space is put before a text, and behind a special token */
} nk_spm;

typedef struct nk_unigram {
  float *scores;        /* as above */
  nk_charsmap charsmap; /* in the arena, like all else */
  uint8_t *map_bytes;   /* what it is copied to */
  uint8_t *filter;      /* [filter_mask + 1 bits] 1 at the hash of every beginning of a token */
  uint32_t filter_mask; /* a power of two, less 1 */
  uint32_t byte_id[256];
  uint32_t unknown; /* NK_NONE: what no token covers is left out */
  double unknown_score;
  bool bytes;        /* there is a byte token for every byte */
  bool words;        /* remove_extra_whitespaces: white space separates and is no text */
  bool space_prefix; /* U+2581 before the first word */
} nk_unigram;

typedef struct nk_wordpiece {
  uint32_t unknown; /* a word that cannot be put together; NK_NONE: it is left out */
} nk_wordpiece;

typedef struct nk_tokenizer_kind {
  const char *model; /* value of tokenizer.ggml.model */
  const char *name;
  /* Reads what the kind needs of the header and carves its tables; sets the defaults of add_bos, bos and the like. */
  nk_status (*lay_out)(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_arena *arena, nk_error *error);
  nk_status (*fill)(nk_tokenizer *tokenizer, const nk_gguf *gguf, nk_error *error);
  /* Text without special tokens; before it stands nothing or one of those. */
  nk_status (*encode)(const nk_tokenizer *tokenizer, const uint8_t *bytes, size_t length, nk_sink *sink,
                      nk_scratch *scratch, nk_error *error);
  bool marks; /* U+2581 in a text is a space */
  /* Bytes of a token that is neither control, unknown nor user-defined. */
  size_t (*piece)(const nk_tokenizer *tokenizer, uint32_t id, char *out, size_t capacity);
} nk_tokenizer_kind;

extern const nk_tokenizer_kind nk_tokenizer_bpe, nk_tokenizer_spm, nk_tokenizer_unigram, nk_tokenizer_wordpiece;

struct nk_tokenizer {
  nk_arena arena; /* all of it, this record included */
  const nk_tokenizer_kind *kind;
  nk_vocab vocab;
  nk_specials specials;
  uint32_t bos, eos; /* NK_NONE: none */
  bool add_bos, add_eos;
  char name[48]; /* "bpe/smollm" */
  union {
    nk_bpe bpe;
    nk_spm spm;
    nk_unigram unigram;
    nk_wordpiece wordpiece;
  };
};

/* The id under `key`: NK_NONE where it is missing or outside of the vocabulary; FORMAT where it is no integer. */
nk_status nk_tokenizer_get_id(const nk_gguf *gguf, const char *key, uint32_t n_vocab, uint32_t *id, nk_error *error);

/* Appends bytes to out [capacity] at *length as far as they fit; *length counts all. */
static inline void nk_put_byte(char *out, size_t capacity, size_t *length, uint8_t byte) {
  if (*length < capacity) out[*length] = (char)byte;
  (*length)++;
}

#endif
