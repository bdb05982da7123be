/// <reference lib="esnext.disposable" />
/**
 * The public interface of nooklm, for TypeScript. `index.js` (browsers) and `node.js` (Node) export the same names.
 */

/** What went wrong, for programs. */
export type ErrorCode =
  | 'abort' | 'busy' | 'download' | 'hash' | 'quota' | 'memory' | 'format' | 'unsupported' | 'template' | 'grammar'
  | 'context_full' | 'adapter_mismatch' | 'data' | 'internal'

/** The one error class: `message` says what and where, `hint` what to do. */
export class NookError extends Error {
  constructor(code: ErrorCode, message: string, more?: { hint?: string; cause?: unknown })
  readonly code: ErrorCode
  readonly hint: string
  toObject(): { name: string; code: ErrorCode; message: string; hint: string }
  static fromObject(object: { code?: string; message?: string; hint?: string }): NookError
  static from(error: unknown): NookError
}

/** How far something is. `message` only with phase "warning". */
/** Rows that came together; data is [rows, columns], the first of them of position `first`. */
export interface Rows {
  first: number
  rows: number
  columns: number
  data: Float32Array
}

export interface Progress {
  /** train: in steps, parts of one included. */
  phase: 'download' | 'resume' | 'load' | 'prefill' | 'shift' | 'warning' | 'examples' | 'train'
  file: string
  loaded: number
  total: number
  message?: string
}

/** A URL, a path (Node), the id of a card, a File; a list of them for a model of several files. */
export type ModelSource = string | URL | Blob | readonly string[] | readonly URL[] | readonly Blob[]

export interface EngineOptions {
  /** SHA-256 of the file (of each file, for a list), 64 hexadecimal digits; another file is an error `hash`. */
  sha256?: string | readonly string[]
  /** Tokens of context. Default: what the model was trained on, at most 4096. */
  contextSize?: number
  /** Default "auto": as many as help here; one where shared memory is missing. */
  threads?: 'auto' | number
  /** Default "auto": relaxed SIMD where the probe and the self-check say yes. */
  build?: 'auto' | 'base' | 'relaxed'
  /** Type of the key/value cache. Default "f16", with activations "f32": "f32". */
  kv?: 'f16' | 'f32' | 'q8'
  /** "f32": float activations (and cache) everywhere. Default "auto": 8 bits for quantized matrices. */
  activations?: 'auto' | 'f32'
  /** Where a model that comes by URL is kept. Default: "opfs" in browsers, "fs" in Node. */
  cache?: 'opfs' | 'memory' | 'fs'
  /** Node: the folder of the cache. */
  cacheFolder?: string
  /** A folder (ends with "/") of nook-*.wasm files, or one file. Default: beside the module. */
  wasmUrl?: string | URL
  /** Another worker.js; under Trusted Types maybe a TrustedScriptURL. */
  workerUrl?: string | URL | object
  /** Another thread.js. */
  threadUrl?: string | URL
  signal?: AbortSignal
  /** The same as signal. */
  abortSignal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

export interface LoadOptions extends EngineOptions {
  model: ModelSource
  /** A chat template (Jinja), or "plain"; default: the file's. */
  chatTemplate?: string
}

/** The plan of a model, from its header. Bytes everywhere. */
export interface Plan {
  architecture: string
  name: string | null
  license: string | null
  parameters: number
  bytes: number
  types: Record<string, number>
  context: number
  trained_context: number
  vocabulary: number
  /** Reads texts only: embeddings and hidden states, no logits. */
  encoder: boolean
  /** What of a text's hidden states becomes its embedding. */
  pooling: 'mean' | 'cls' | 'last'
  sizes: Record<string, number | boolean>
  tokenizer: string | null
  template: string | null
  bos: number | null
  eos: number | null
  memory: { weights: number; kv: number; work: number; total: number }
  isa: 'scalar' | 'simd128' | 'relaxed'
  threads: number
  activations: 'auto' | 'f32'
  kv_type: 'f16' | 'f32' | 'q8'
  header_sha256: string
  /** What in the file Nook does not support, by name; empty: it runs. */
  unsupported: string[]
}

export interface ModelInfo extends Omit<Plan, 'name'> {
  name: string
  file: string
  build: 'base' | 'relaxed'
  /** Why this build and this number of threads. */
  reasons: string[]
  /** What did not go as asked, e.g. that the model could not be kept. */
  warnings: string[]
  /** Bytes of the engine's memory after the load. */
  wasm_memory: number
}

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | 'tool' | (string & {})
  content: string | { type: 'text'; text: string }[]
  name?: string
}

/** A piece of text; only with parse_special may its control tokens act. */
export interface Span {
  text: string
  parse_special?: boolean
}

/** An adapter of the model, by its number, and how strongly it acts (default 1). */
export interface AdapterUse {
  id: number
  scale?: number
}

export interface SamplingOptions {
  /** Default none: the model alone. */
  adapters?: readonly AdapterUse[]
  max_tokens?: number
  /** 0: always the most likely token. */
  temperature?: number
  top_k?: number
  top_p?: number
  min_p?: number
  typical_p?: number
  repetition_penalty?: number
  frequency_penalty?: number
  presence_penalty?: number
  /** How many of the last tokens the penalties look at. */
  penalty_window?: number
  logit_bias?: Record<string, number>
  seed?: number
  /** The answer ends before any of these texts. */
  stop?: string | string[]
  /** Goes on behind the end token. */
  ignore_end?: boolean
  /**
   * What happens when the context is full: the answer ends (finish_reason "context_full"), or the middle is dropped and
   * told.
   */
  context_full?: 'stop' | 'shift'
  /** Tokens of the beginning that a shift keeps. */
  keep?: number
  /** Default true: what the cache holds of the prompt's beginning is not read again. */
  reuse?: boolean
  /** Tokens of the prompt that are read together, at most. The result is the same to the bit. */
  chunk?: number
  /** Only 1. */
  n?: 1
  /** Accepted and not used, for callers of OpenAI's API. */
  model?: string
  user?: string
  stream_options?: { include_usage?: boolean }
  signal?: AbortSignal
  abortSignal?: AbortSignal
  /** Phases "prefill" and "shift". */
  onProgress?: (progress: Progress) => void
}

export interface ChatOptions extends SamplingOptions {
  messages: readonly ChatMessage[]
  max_completion_tokens?: number
  logprobs?: boolean | null
  top_logprobs?: number
  response_format?: { type: 'text' }
  /** Jinja or "plain", for this call. */
  chatTemplate?: string
  /** Further variables of the template, e.g. {enable_thinking: false}. */
  template_variables?: Record<string, unknown>
  /** Default true. */
  add_generation_prompt?: boolean
}

export interface CompletionOptions extends SamplingOptions {
  /** Text (control tokens in it are text unless `special`), pieces, or token ids. */
  prompt: string | readonly Span[] | Uint8Array | readonly number[] | Int32Array
  special?: boolean
  /** BOS and the like, as the file says. Default true. */
  addSpecial?: boolean
  /** Number of alternatives to give. */
  logprobs?: number | null
  /** The prompt stands before the answer. */
  echo?: boolean
}

export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details: { cached_tokens: number }
}

/** As llama-server gives them; milliseconds. prompt_n: tokens that were read, cached ones left out. */
export interface Timings {
  prompt_n: number
  prompt_ms: number
  predicted_n: number
  predicted_ms: number
  cached_n?: number
}

export type FinishReason = 'stop' | 'length' | 'context_full'

export interface TokenLogprob {
  token: string
  id: number
  logprob: number
  bytes: number[]
  top_logprobs: { token: string; id: number; logprob: number; bytes: number[] }[]
}

interface Answer {
  id: string
  created: number
  model: string
  usage: Usage
  timings: Timings
  /** Tokens of the middle that were dropped by context_full "shift". */
  dropped_tokens?: number
  /** The stop text that ended the answer. */
  stop_text?: string
}

export interface ChatCompletion extends Answer {
  object: 'chat.completion'
  choices: {
    index: 0
    message: { role: 'assistant'; content: string }
    logprobs: { content: TokenLogprob[]; refusal: null } | null
    finish_reason: FinishReason
  }[]
}

/** The last chunk has finish_reason, usage and timings. */
export interface ChatCompletionChunk extends Partial<Pick<Answer, 'usage' | 'timings' | 'dropped_tokens' | 'stop_text'>> {
  id: string
  object: 'chat.completion.chunk'
  created: number
  model: string
  choices: {
    index: 0
    delta: { role?: 'assistant'; content?: string }
    logprobs: { content: TokenLogprob[]; refusal: null } | null
    finish_reason: FinishReason | null
  }[]
}

export interface TextLogprobs {
  tokens: string[]
  token_logprobs: number[]
  top_logprobs: Record<string, number>[]
  text_offset: number[]
}

export interface Completion extends Answer {
  object: 'text_completion'
  choices: { index: 0; text: string; logprobs: TextLogprobs | null; finish_reason: FinishReason }[]
}

export interface CompletionChunk extends Partial<Pick<Answer, 'usage' | 'timings' | 'dropped_tokens' | 'stop_text'>> {
  id: string
  object: 'text_completion'
  created: number
  model: string
  choices: { index: 0; text: string; logprobs: TextLogprobs | null; finish_reason: FinishReason | null }[]
}

/** Scored answers, the most likely first; `index` is the place in the list that was asked. */
export interface Scored<Part> extends Answer {
  object: 'chat.completion' | 'text_completion'
  choices: (Part & {
    index: number
    logprob: number
    tokens: number
    probability: number
    logprobs: null
    finish_reason: 'stop'
  })[]
}

export interface EmbeddingOptions {
  /** A text, several, or token ids. */
  input: string | readonly string[] | readonly number[] | Int32Array | readonly (readonly number[] | Int32Array | string)[]
  /** Instead of what the model's file says. */
  pooling?: 'auto' | 'mean' | 'cls' | 'last'
  /** Vectors of length 1 (default true). */
  normalize?: boolean
  /** Texts are cut after so many tokens, special ones counted (default: the context). */
  maxTokens?: number
  /** The first so many numbers of each vector, brought to length 1 again. */
  dimensions?: number
  encoding_format?: 'float'
  model?: string
  user?: string
  signal?: AbortSignal
  abortSignal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

export interface EmbeddingList {
  object: 'list'
  model: string
  /** tokens: read for this text; truncated: it was longer than there is room. */
  data: { object: 'embedding'; index: number; embedding: number[]; tokens: number; truncated: boolean }[]
  usage: { prompt_tokens: number; total_tokens: number }
}

export interface AdapterInfo {
  id: number
  method: TrainMethod
  /** Numbers that were learned. */
  parameters: number
  rank: number
  alpha: number
  slots: string[]
  layers: number[]
  /** Virtual tokens. */
  virtual: number
  key: string
  card: Record<string, unknown> | null
}

/** An adapter that a model holds, until it is removed or the model disposed. */
export interface Adapter {
  readonly id: number
  readonly method: TrainMethod
  readonly parameters: number
  readonly info: AdapterInfo
  /** Its files by their names: PEFT's (default), or one GGUF (LoRA only). */
  export(format?: 'peft' | 'gguf'): Promise<Record<string, Uint8Array<ArrayBuffer>>>
}

export type TrainMethod = 'lora' | 'prompt' | 'prefix' | 'ia3'

/** labels: the token that is wanted at each place, −100: not scored. Of chats the assistant's answers are scored. */
export type TrainExample =
  | { messages: readonly ChatMessage[] }
  | { prompt: string; completion: string }
  | { input_ids: readonly number[] | Int32Array; labels: readonly number[] | Int32Array }

export interface TrainOptions {
  data: readonly TrainExample[]
  /** Only measured. */
  eval?: readonly TrainExample[]
  /** Default "lora"; with init: that adapter's. */
  method?: TrainMethod
  /** Of LoRA. */
  rank?: number
  alpha?: number
  dropout?: number
  rslora?: boolean
  /** Of LoRA and IA3: "all", names such as q, v, down, or PEFT's names. */
  targets?: string | readonly string[]
  layers?: readonly number[]
  /** Of prompt and prefix: virtual tokens. */
  tokens?: number
  /** Of prompt: the tokens whose embeddings it begins with. */
  initIds?: readonly number[]
  /** The budget: one of them (default 3 epochs). */
  epochs?: number
  steps?: number
  minutes?: number
  /** Examples of a batch (default 4), and batches of a step (1). */
  batchSize?: number
  accumulate?: number
  lr?: number
  weightDecay?: number
  /** Largest norm of the gradient (default 1; 0: any). */
  clip?: number
  schedule?: 'cosine' | 'linear' | 'constant'
  warmupSteps?: number
  seed?: number
  shuffle?: boolean
  /** Of data, a share or a number that is only measured. */
  heldOut?: number
  heldOutFrom?: 'random' | 'end'
  /** Steps between measurements; default: each epoch. */
  evalEvery?: number
  /** Ends after so many measurements without a better one, and gives the best back. */
  patience?: number
  /** Bytes that the training may take of its own. */
  memoryLimit?: number
  /** Prompt and completion as they are, with an end token behind them. */
  raw?: boolean
  chatTemplate?: string
  /** An adapter to begin with. */
  init?: Adapter | number
  /** A checkpoint to go on from; data and options must be those it was made with. */
  resume?: Uint8Array
  /** Steps between checkpoints (default 50, with onCheckpoint). An abort gives a last one. */
  checkpointEvery?: number
  onCheckpoint?: (bytes: Uint8Array<ArrayBuffer>, step: number) => void
  signal?: AbortSignal
  abortSignal?: AbortSignal
  /** Phases "examples" and "train". */
  onProgress?: (progress: Progress) => void
}

export interface ExampleCounts {
  given: number
  cut: number
  unscored: number
  tokens: number
  scored: number
  longest: number
}

/** What a training takes: bytes of its own, numbers of the adapter, steps (0: minutes decide). */
export interface TrainPlan {
  bytes: number
  parameters: number
  steps: number
  row: number
  kept: number
  layers: number
  examples: ExampleCounts
  held_out: ExampleCounts
}

interface TrainPlace {
  /** Updates made, and of all (0: minutes decide). */
  step: number
  total: number
  epoch: number
  /** Learned from, in all. */
  tokens: number
}

export type TrainEvent =
  | { type: 'start'; plan: TrainPlan; otherKernels: boolean }
  /** loss: before the update; grad_norm: before clipping. */
  | ({ type: 'step'; loss: number; grad_norm: number; lr: number; tokens_per_second: number } & TrainPlace)
  | ({ type: 'eval'; loss: number } & TrainPlace)

export interface TrainResult {
  adapter: Adapter
  /** Why it ended: budget, patience, or a loss that was not finite. */
  end: 'budget' | 'patience' | 'diverged'
  steps: number
  epochs: number
  tokens: number
  /** The last ones. */
  loss: number | null
  eval_loss: number | null
  best_eval_loss?: number
  best_step?: number
  seconds: number
  plan: TrainPlan
}

/** A training under way. Leaving a loop over it aborts it. */
export interface TrainRun extends AsyncIterableIterator<TrainEvent> {
  readonly result: Promise<TrainResult>
}

export interface Model {
  readonly adapters: {
    /** Files by their names (adapter_config.json and adapter_model.safetensors, or one .gguf), or a list of File. */
    add(files: Record<string, Uint8Array> | readonly Blob[]): Promise<Adapter>
    list(): Promise<Adapter[]>
    remove(adapter: Adapter | number): Promise<void>
  }
  /** Trains an adapter, beside what else is asked of the model. */
  train(options: TrainOptions): TrainRun
  /** What a training will take, from its examples. */
  estimate(options: { train: TrainOptions }): Promise<TrainPlan>
  readonly info: ModelInfo
  readonly chat: {
    readonly completions: {
      create(
        options: ChatOptions & { choices: readonly string[]; stream?: false },
      ): Promise<Scored<{ message: { role: 'assistant'; content: string } }>>
      create(options: ChatOptions & { stream: true }): Promise<AsyncIterableIterator<ChatCompletionChunk>>
      create(options: ChatOptions & { stream?: false }): Promise<ChatCompletion>
    }
  }
  readonly embeddings: { create(options: EmbeddingOptions): Promise<EmbeddingList> }
  readonly completions: {
    create(options: CompletionOptions & { choices: readonly string[]; stream?: false }): Promise<Scored<{ text: string }>>
    create(options: CompletionOptions & { stream: true }): Promise<AsyncIterableIterator<CompletionChunk>>
    create(options: CompletionOptions & { stream?: false }): Promise<Completion>
  }
  tokenize(
    input: string | readonly Span[] | Uint8Array,
    options?: { special?: boolean; addSpecial?: boolean },
  ): Promise<Int32Array>
  detokenize(ids: ArrayLike<number>, options?: { special?: boolean }): Promise<string>
  detokenizeBytes(ids: ArrayLike<number>, options?: { special?: boolean }): Promise<Uint8Array>
  /** The text a chat becomes; spans over its UTF-8 bytes say where control tokens are parsed. */
  renderChat(options: {
    messages: readonly ChatMessage[]
    chatTemplate?: string
    add_generation_prompt?: boolean
    template_variables?: Record<string, unknown>
  }): Promise<{ text: string; spans: { start: number; length: number; parse_special: boolean }[] }>
  /** -log p of each token given those before it: [ids.length − 1]. */
  nll(
    ids: ArrayLike<number>,
    options?: {
      chunk?: number
      adapters?: readonly AdapterUse[]
      signal?: AbortSignal
      abortSignal?: AbortSignal
      onProgress?: (progress: Progress) => void
    },
  ): Promise<Float64Array>
  /** Logits of every position from `from` on; columns: the vocabulary. */
  logits(
    ids: ArrayLike<number>,
    options?: {
      chunk?: number
      from?: number
      adapters?: readonly AdapterUse[]
      signal?: AbortSignal
      abortSignal?: AbortSignal
      onProgress?: (progress: Progress) => void
    },
  ): AsyncIterableIterator<Rows>
  /** Hidden states after the last norm, likewise: what an encoder gives instead of logits; columns: the width. */
  hidden(
    ids: ArrayLike<number>,
    options?: {
      chunk?: number
      from?: number
      adapters?: readonly AdapterUse[]
      signal?: AbortSignal
      abortSignal?: AbortSignal
      onProgress?: (progress: Progress) => void
    },
  ): AsyncIterableIterator<Rows>
  perplexity(
    text: string | Uint8Array,
    options?: {
      window?: number
      bos?: boolean
      chunk?: number
      adapters?: readonly AdapterUse[]
      signal?: AbortSignal
      abortSignal?: AbortSignal
      onProgress?: (progress: Progress) => void
    },
  ): Promise<{ tokens: number; mean_nll: number; perplexity: number }>
  /** Forgets the key/value cache. */
  clear(): Promise<void>
  /** Frees the model and ends its worker; idempotent. Calls under way are rejected with code `abort`. */
  dispose(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface CacheEntry {
  id: string
  name: string
  url: string
  bytes: number
  sha256?: string
  /** false: a broken download, which the next load goes on with. */
  whole: boolean
  /** When it was last used, ms since 1970. */
  used: number
}

export interface CacheOptions {
  /** Node: the folder. */
  cacheFolder?: string
  wasmUrl?: string | URL
  workerUrl?: string | URL | object
}

export interface Cache {
  list(options?: CacheOptions): Promise<CacheEntry[]>
  delete(id: string, options?: CacheOptions): Promise<boolean>
  /** used and granted: of all storage of this origin (browsers), free space (Node); granted null: not told. */
  usage(options?: CacheOptions): Promise<{ files: number; bytes: number; used: number; granted: number | null }>
}

export interface Feature {
  ok: boolean
  reason: string
}

/** Loads a model in a worker of its own. */
export function load(options: LoadOptions): Promise<Model>
/** The plan of a model and the memory it will take; reads the header only. `fileBytes`: sizes of its files. */
export function estimate(options: LoadOptions): Promise<Plan & { fileBytes: number[] }>
export const cache: Cache
/** What WebAssembly can do here, with reasons. */
export function probe(): { simd: Feature; relaxed: Feature; threads: Feature }

declare const nook: {
  load: typeof load
  estimate: typeof estimate
  cache: Cache
  probe: typeof probe
  NookError: typeof NookError
}
export default nook
