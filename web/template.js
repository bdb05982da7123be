/*
 * template.js: chat templates. Messages become text and spans that say which bytes of it came from outside.
 *
 * Purpose  @huggingface/jinja renders; the text of a message must never become a control token (design, decision 8). The
 *          template is rendered plainly (text R) and once more with two private markers around the core of each content
 *          (its outer white space stays outside, so that a template's `trim` gives the same). If R comes back when the
 *          markers are taken out and the markers are still paired, they delimit the untrusted spans. Templates that look
 *          into the contents (split, length, comparisons) fail that test; then every control-token text inside a content is
 *          broken by a marker, the template is rendered with that, and the spans are cut around the former breaks.
 * Format   render() gives {text, bytes, spans: [{start, length, parse_special}]} over the UTF-8 bytes of the text.
 * Limits   Templates come with model files and are hostile: at most 256 KiB of template, 1 million evaluation steps, 5
 *          seconds, 16 MiB of text, ranges of 100,000. Roles are short words. The interpreter has no objects of JavaScript
 *          and no I/O.
 */
import { NookError, checkKeys } from './errors.js'

export const TEMPLATE_BYTES = 262144
export const TEMPLATE_STEPS = 1e6
export const TEMPLATE_MS = 5000
export const TEXT_CHARACTERS = 16 * 1048576
const RANGE_LENGTH = 100000

/* Unicode noncharacters: no text for interchange holds them (The Unicode Standard, section 23.7). */
const NONCHARACTERS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0xfdd0 + i))

/**
 * @typedef {{role: string, content: string | {type: 'text', text: string}[], name?: string}} Message
 * @typedef {{role: string, content: string, name?: string}} PlainMessage
 * @typedef {{start: number, length: number, parse_special: boolean}} ByteSpan
 * @typedef {{text: string, bytes: Uint8Array, spans: ByteSpan[]}} Rendered
 * @typedef {{add_generation_prompt?: boolean, bos_token?: string, eos_token?: string, variables?: Record<string, unknown>,
 *            controlTokens?: () => string[], now?: Date}} RenderOptions
 */

/** A plain form for models without a template, used only when it is asked for (chatTemplate: "plain"). */
export const PLAIN_TEMPLATE =
  '{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n\n{% endfor %}'
  + '{% if add_generation_prompt %}Assistant:{% endif %}'

/* Typed loosely: the package's declarations resolve in bundlers only. */
/** @type {Promise<any> | null} */
let jinja = null

/** The interpreter: the package in Node, the copy that set-up made beside this file in browsers. */
function loadJinja() {
  jinja ??= (typeof process !== 'undefined' && process.versions?.node !== undefined
    ? import('@huggingface/jinja')
    // @ts-ignore made by set-up; perhaps not there when types are checked
    : /** @type {Promise<any>} */ (import('./vendor/jinja.js'))).catch((error) => {
    jinja = null
    throw new NookError('internal', 'The interpreter of chat templates is missing.',
      { cause: error, hint: 'Run `npm install` (Node) or `npm run setup` (the page).' })
  })
  return jinja
}

/**
 * Checks messages and makes each content one string. Parts of a content are joined by line ends.
 * @param {unknown} messages
 * @returns {PlainMessage[]}
 */
export function plainMessages(messages) {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new NookError('data', 'messages is not a list of at least one message.', {
      hint: 'Pass [{role: "user", content: "…"}].',
    })
  }
  return messages.map((message, i) => {
    const where = `messages[${i}]`
    checkKeys(message, ['role', 'content', 'name'], where)
    const { role, content, name } = message
    if (typeof role !== 'string' || !/^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(role)) {
      throw new NookError('data', `${where}.role is ${JSON.stringify(role)}.`, {
        hint: 'It is a word such as system, user or assistant.',
      })
    }
    if (name !== undefined && (typeof name !== 'string' || !/^[A-Za-z0-9_.-]{1,64}$/.test(name))) {
      throw new NookError('data', `${where}.name is ${JSON.stringify(name)}.`, {
        hint: 'It has up to 64 letters, digits, "_", "." or "-".',
      })
    }
    let text
    if (typeof content === 'string') text = content
    else if (Array.isArray(content)) {
      text = content.map((part, k) => {
        if (part?.type !== 'text' || typeof part.text !== 'string') {
          throw new NookError('unsupported', `${where}.content[${k}] is not a part {type: "text", text}.`, {
            hint: 'Models here read text only.',
          })
        }
        return part.text
      }).join('\n')
    } else throw new NookError('data', `${where}.content is neither a text nor a list of text parts.`)
    return name === undefined ? { role, content: text } : { role, content: text, name }
  })
}

/** A parsed template. */
export class ChatTemplate {
  /** @type {any} */ #jinja
  /** @type {any} */ #program

  /**
   * @param {string} source Jinja
   * @returns {Promise<ChatTemplate>}
   */
  static async parse(source) {
    if (source.length > TEMPLATE_BYTES) {
      throw new NookError(
        'template',
        `The chat template has ${source.length} characters; ${TEMPLATE_BYTES} is the most that is rendered.`,
        { hint: 'Pass a shorter one as chatTemplate.' },
      )
    }
    const module = await loadJinja()
    try {
      return new ChatTemplate(module, module.parse(module.tokenize(source, { lstrip_blocks: true, trim_blocks: true })))
    } catch (error) {
      throw new NookError('template', `The chat template cannot be read: ${/** @type {Error} */ (error).message}.`,
        { cause: error, hint: 'Pass another one as chatTemplate.' })
    }
  }

  /** @param {any} module @param {any} program */
  constructor(module, program) {
    this.#jinja = module
    this.#program = program
  }

  /**
   * Renders messages.
   * @param {unknown} messages OpenAI's messages
   * @param {RenderOptions} [options]
   * @returns {Rendered}
   */
  render(messages, options = {}) {
    const plain = plainMessages(messages)
    const text = this.#run(plain, options)
    const pieces = this.#marked(plain, text, options)
    return pieces === null ? this.#broken(plain, options) : assemble(pieces)
  }

  /**
   * Where the contents of some messages stand in the rendered text, without their outer white space.
   * @param {unknown} messages @param {boolean[]} wanted one for each message @param {RenderOptions} [options]
   * @returns {{start: number, end: number}[]} bytes, in the order of the messages; empty contents have none
   */
  locate(messages, wanted, options = {}) {
    const plain = plainMessages(messages)
    const pieces = this.#marked(plain, this.#run(plain, options), options, wanted)
    const asked = plain.filter((message, i) => wanted[i] === true && message.content.trim() !== '').length
    /** @type {{start: number, end: number}[]} */
    const found = []
    const encoder = new TextEncoder()
    let at = 0
    for (const piece of pieces ?? []) {
      const end = at + encoder.encode(piece.text).length
      if (!piece.parse_special) found.push({ start: at, end })
      at = end
    }
    if (pieces === null || found.length !== asked) {
      throw new NookError('template', 'The chat template changes these messages, so their places cannot be told.', {
        hint: 'Pass another one as chatTemplate, or ids with labels.',
      })
    }
    return found
  }

  /**
   * The usual way: markers around the contents.
   * @param {PlainMessage[]} messages @param {string} text @param {RenderOptions} options
   * @param {boolean[]} [wanted] default: all
   * @returns {{text: string, parse_special: boolean}[] | null} null when this template changes or inspects contents
   */
  #marked(messages, text, options, wanted) {
    const free = freeCharacters(messages, text)
    const [open, close] = free
    if (open === undefined || close === undefined) return null
    let marked
    try {
      marked = this.#run(messages.map((message, i) => {
        const { content } = message
        const core = content.trim()
        if (core === '' || wanted?.[i] === false) return message
        const at = content.indexOf(core)
        return { ...message, content: `${content.slice(0, at)}${open}${core}${close}${content.slice(at + core.length)}` }
      }), options)
    } catch {
      return null /* it raised for the marked contents only */
    }
    /* Walk: outside, then inside, and so on; anything unpaired means that the template cut a content. */
    /** @type {{text: string, parse_special: boolean}[]} */
    const pieces = []
    let at = 0
    let inside = false
    for (let i = 0; i < marked.length; i++) {
      const c = marked[i]
      if (c !== open && c !== close) continue
      if ((c === open) === inside) return null
      pieces.push({ text: marked.slice(at, i), parse_special: !inside })
      inside = !inside
      at = i + 1
    }
    if (inside) return null
    pieces.push({ text: marked.slice(at), parse_special: true })
    return pieces.map((piece) => piece.text).join('') === text ? pieces : null
  }

  /**
   * The other way: control tokens inside contents are broken before the template sees them.
   * @param {PlainMessage[]} messages @param {RenderOptions} options
   * @returns {Rendered}
   */
  #broken(messages, options) {
    const tokens = (options.controlTokens?.() ?? []).filter((token) => token.length > 1).sort((a, b) => b.length - a.length)
    const [mark] = freeCharacters(messages, '')
    if (mark === undefined)
      throw new NookError('data', 'The messages hold all 32 private characters of Unicode.', { hint: 'Take them out.' })
    const broken = this.#run(
      messages.map((message) => ({ ...message, content: breakTokens(message.content, tokens, mark) })),
      options,
    )
    if (!broken.includes(mark)) return assemble([{ text: broken, parse_special: true }])
    /* Around each break stands a token's text that came from outside: those characters are not parsed. */
    let text = ''
    /** @type {number[]} */
    const breaks = []
    for (const c of broken) {
      if (c === mark) breaks.push(text.length)
      else text += c
    }
    /** @type {[number, number][]} */
    const guarded = []
    for (const at of breaks) {
      for (const token of tokens) {
        for (let start = Math.max(0, at - token.length + 1); start < at; start++) {
          if (text.startsWith(token, start)) guarded.push([start, start + token.length])
        }
      }
    }
    guarded.sort((a, b) => a[0] - b[0])
    const pieces = []
    let done = 0
    for (const [start, end] of guarded) {
      if (end <= done) continue
      const from = Math.max(start, done)
      pieces.push(
        { text: text.slice(done, from), parse_special: true },
        { text: text.slice(from, end), parse_special: false },
      )
      done = end
    }
    pieces.push({ text: text.slice(done), parse_special: true })
    return assemble(pieces)
  }

  /**
   * One bounded run of the interpreter.
   * @param {PlainMessage[]} messages @param {RenderOptions} options
   * @returns {string}
   */
  #run(messages, options) {
    const { Environment, Interpreter } = this.#jinja
    const environment = new Environment()
    const now = options.now ?? new Date()
    const globals = {
      false: false, true: true, none: null, False: false, True: true, None: null,
      raise_exception: (/** @type {unknown} */ message) => {
        throw new NookError('template', `The chat template refuses these messages: ${String(message)}`,
          { hint: 'Check the order of the roles.' })
      },
      range: boundedRange,
      strftime_now: (/** @type {unknown} */ format) => strftime(now, String(format)),
      messages, add_generation_prompt: options.add_generation_prompt !== false,
      bos_token: options.bos_token ?? '', eos_token: options.eos_token ?? '',
    }
    for (const [key, value] of Object.entries({ ...globals, ...options.variables })) environment.set(key, value)

    let steps = 0
    const deadline = Date.now() + TEMPLATE_MS
    class Bounded extends Interpreter {
      /** @param {any} statement @param {any} scope */
      evaluate(statement, scope) {
        if (++steps > TEMPLATE_STEPS || ((steps & 1023) === 0 && Date.now() > deadline)) {
          throw new NookError(
            'template',
            `The chat template did not end within ${TEMPLATE_STEPS} steps and ${TEMPLATE_MS / 1000} seconds.`,
            { hint: 'Pass another one as chatTemplate.' },
          )
        }
        const value = super.evaluate(statement, scope)
        if (typeof value?.value === 'string' && value.value.length > TEXT_CHARACTERS) {
          throw new NookError('template', `The chat template makes a text of more than ${TEXT_CHARACTERS} characters.`,
            { hint: 'Pass another one as chatTemplate, or shorter messages.' })
        }
        return value
      }
    }
    try {
      return String(new /** @type {any} */ (Bounded)(environment).run(this.#program).value)
    } catch (error) {
      if (error instanceof NookError) throw error
      throw new NookError('template', `The chat template failed: ${/** @type {Error} */ (error).message}.`,
        { cause: error, hint: 'Pass another one as chatTemplate, or check the messages.' })
    }
  }
}

/**
 * Noncharacters that none of the texts holds.
 * @param {PlainMessage[]} messages @param {string} text
 */
function freeCharacters(messages, text) {
  return NONCHARACTERS.filter((c) => !text.includes(c) && !messages.some((message) => message.content.includes(c)))
}

/**
 * Puts `mark` behind the first character of every occurrence of every token, overlapping ones included.
 * @param {string} content @param {string[]} tokens @param {string} mark
 * @returns {string}
 */
export function breakTokens(content, tokens, mark) {
  /** @type {Set<number>} */
  const cuts = new Set()
  for (const token of tokens) {
    const first = token.codePointAt(0) !== undefined && /** @type {number} */ (token.codePointAt(0)) > 0xffff ? 2 : 1
    for (let at = content.indexOf(token); at >= 0; at = content.indexOf(token, at + 1)) cuts.add(at + first)
  }
  let out = ''
  let done = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    out += content.slice(done, cut) + mark
    done = cut
  }
  return out + content.slice(done)
}

/**
 * @param {{text: string, parse_special: boolean}[]} pieces
 * @returns {Rendered}
 */
function assemble(pieces) {
  const encoder = new TextEncoder()
  const text = pieces.map((piece) => piece.text).join('')
  const bytes = encoder.encode(text)
  /** @type {ByteSpan[]} */
  const spans = []
  let at = 0
  for (const piece of pieces) {
    const length = encoder.encode(piece.text).length
    const last = spans[spans.length - 1]
    if (length === 0) continue
    if (last !== undefined && last.parse_special === piece.parse_special) last.length += length
    else spans.push({ start: at, length, parse_special: piece.parse_special })
    at += length
  }
  return { text, bytes, spans }
}

/** Python's range, short. @param {...unknown} args @returns {number[]} */
function boundedRange(...args) {
  const numbers = args.map((value) => Math.trunc(Number(value))).filter((value) => !Number.isNaN(value))
  const [start, stop, step] = numbers.length === 1 ? [0, numbers[0], 1] : [numbers[0], numbers[1], numbers[2] ?? 1]
  if (start === undefined || stop === undefined || step === undefined || step === 0) {
    throw new NookError('template', 'The chat template calls range() with unusable arguments.')
  }
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (length > RANGE_LENGTH) {
    throw new NookError('template', `The chat template asks for a range of ${length}; ${RANGE_LENGTH} is the most.`,
      { hint: 'Pass another one as chatTemplate.' })
  }
  return Array.from({ length }, (_, i) => start + i * step)
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = [
  'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December',
]

/** C's strftime in the C locale, local time. @param {Date} date @param {string} format @returns {string} */
export function strftime(date, format) {
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0')
  /** @type {Record<string, () => string>} */
  const fields = {
    d: () => two(date.getDate()),
    m: () => two(date.getMonth() + 1),
    Y: () => String(date.getFullYear()),
    y: () => two(date.getFullYear() % 100),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    A: () => DAYS[date.getDay()] ?? '',
    a: () => (DAYS[date.getDay()] ?? '').slice(0, 3),
    B: () => MONTHS[date.getMonth()] ?? '',
    b: () => (MONTHS[date.getMonth()] ?? '').slice(0, 3),
    e: () => String(date.getDate()).padStart(2, ' '),
    '%': () => '%',
    j: () =>
      String(
        Math.round(
          (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 864e5,
        ),
      ).padStart(3, '0'),
    F: () => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    T: () => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`,
  }
  return format.replace(/%([A-Za-z%])/g, (all, letter) => fields[letter]?.() ?? all)
}
