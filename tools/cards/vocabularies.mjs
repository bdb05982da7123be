/*
 * vocabularies.mjs: how large the vocabularies of models/*.json are, for the memory plans of models whose file is not here:
 * their texts stay in memory. Counted in vocabularies with all their tokens; `counted: false` says that one was estimated
 * from its tokens and merges with the mean length of another's texts.
 */

/**
 * @typedef {{model: string, pre?: string, tokens: number, bytes: number, merges?: number, merge_bytes?: number,
 *            control: number, user?: number, scores?: boolean, counted: boolean}} Vocabulary
 *   bytes: of all texts; control, user: tokens of these kinds; scores: a float32 for each token
 */
export const VOCABULARIES = /** @type {Record<string, Vocabulary>} */ ({
  smollm2: {
    model: 'gpt2', pre: 'smollm', tokens: 49152, bytes: 369170, merges: 48900, merge_bytes: 417477, control: 17,
    counted: true,
  },
  qwen2: {
    model: 'gpt2', pre: 'qwen2', tokens: 151936, bytes: 1372708, merges: 151387, merge_bytes: 1520452, control: 3,
    user: 290, counted: true,
  },
  'llama-3': {
    model: 'gpt2', pre: 'llama-bpe', tokens: 128256, bytes: 1073445, merges: 280147, merge_bytes: 2963589, control: 256,
    counted: true,
  },
  'gpt-neox': {
    model: 'gpt2', tokens: 50432, bytes: 358831, merges: 50009, merge_bytes: 406575, control: 2, counted: true,
  },
  'gpt-2': {
    model: 'gpt2', pre: 'gpt-2', tokens: 50257, bytes: 356735, merges: 50000, merge_bytes: 406304, control: 1,
    counted: true,
  },
  stablelm2: {
    model: 'gpt2', pre: 'stablelm2', tokens: 100352, bytes: 840000, merges: 100000, merge_bytes: 1058000, control: 33,
    counted: false,
  },
  'llama-2': { model: 'llama', pre: 'default', tokens: 32000, bytes: 210919, control: 2, scores: true, counted: true },
  'llama-2-merges': {
    model: 'llama', pre: 'default', tokens: 32000, bytes: 210919, merges: 61249, merge_bytes: 480000, control: 2,
    scores: true, counted: false,
  },
  gemma3: {
    model: 'llama', pre: 'default', tokens: 262144, bytes: 2315366, control: 6249, user: 165, scores: true, counted: true,
  },
  bert: { model: 'bert', pre: 'jina-v2-en', tokens: 30522, bytes: 263397, control: 5, counted: true },
})
