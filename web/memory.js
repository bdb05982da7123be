/*
 * memory.js: the second ring. Reading and writing the engine's linear memory.
 *
 * Purpose  Views, strings, u64 fields and the fields of C structs by name. A WebAssembly memory may grow in any call, and a
 *          view of the old buffer is then dead: so views are fetched here each time and never kept by callers.
 * Format   Struct layouts come from C (nook_constants(): {"structs": {"nook_want": {"size": n, "fields": {"offset":
 *          {"offset": n, "type": "u64"}, …}}}}), so that no offset is typed twice. Types: i32 u32 u64 f32 f64 ptr.
 * Limits   Addresses are 32 bits. u64 fields become numbers and must be below 2^53.
 */
import { NookError } from './errors.js'

/**
 * @typedef {{offset: number, type: string}} Field
 * @typedef {{size: number, fields: Record<string, Field>}} Layout
 * @typedef {{malloc: (bytes: number) => number, free: (address: number) => void}} Allocator
 */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true }) /* U+FEFF is a character of a text */

export class Memory {
  /** @type {WebAssembly.Memory} */ #memory
  /** @type {Allocator} */ #allocator
  /** @type {Uint8Array} */ #bytes
  /** @type {DataView} */ #view

  /**
   * @param {WebAssembly.Memory} memory
   * @param {Allocator} allocator how C gives memory for arguments
   */
  constructor(memory, allocator) {
    this.#memory = memory
    this.#allocator = allocator
    this.#bytes = new Uint8Array(memory.buffer)
    this.#view = new DataView(memory.buffer)
  }

  /** Size of the memory in bytes. */
  get size() {
    return this.#memory.buffer.byteLength
  }

  /** All of the memory; valid until the next call into C. @returns {Uint8Array} */
  bytes() {
    const buffer = this.#memory.buffer
    if (this.#bytes.buffer !== buffer || this.#bytes.byteLength !== buffer.byteLength) {
      this.#bytes = new Uint8Array(buffer)
      this.#view = new DataView(buffer)
    }
    return this.#bytes
  }

  /** @returns {DataView} valid until the next call into C */
  view() {
    this.bytes()
    return this.#view
  }

  /**
   * @param {number} address @param {number} length bytes
   * @returns {Uint8Array} a window, not a copy; valid until the next call into C
   */
  window(address, length) {
    const all = this.bytes()
    if (address < 0 || length < 0 || address + length > all.length) {
      throw new NookError('internal', `The engine named memory outside of its own (${address} + ${length}).`)
    }
    return all.subarray(address, address + length)
  }

  /** @param {number} address @param {number} count @returns {Float32Array} a window [count] */
  floats(address, count) {
    this.window(address, count * 4)
    return new Float32Array(this.#memory.buffer, address, count)
  }

  /** @param {number} address @param {number} count @returns {Float64Array} a window [count] */
  doubles(address, count) {
    this.window(address, count * 8)
    return new Float64Array(this.#memory.buffer, address, count)
  }

  /** @param {number} address @param {number} count @returns {Int32Array} a copy [count] */
  idsCopy(address, count) {
    this.window(address, count * 4)
    return new Int32Array(this.#memory.buffer, address, count).slice()
  }

  /** @param {number} address @param {number} length bytes @returns {Uint8Array<ArrayBuffer>} a copy in unshared memory */
  bytesCopy(address, length) {
    const copy = new Uint8Array(length)
    copy.set(this.window(address, length))
    return copy
  }

  /** @param {number} address @param {number} length bytes of UTF-8 @returns {string} */
  text(address, length) {
    return length === 0 ? '' : decoder.decode(this.bytesCopy(address, length)) /* decoders refuse shared memory */
  }

  /** @param {number} address of a NUL-terminated string, 0 gives "" @returns {string} */
  string(address) {
    if (address === 0) return ''
    const end = this.bytes().indexOf(0, address)
    if (end < 0) throw new NookError('internal', 'The engine gave a string without an end.')
    return this.text(address, end - address)
  }

  /**
   * Memory for arguments while `use` runs; freed afterwards, also when it throws.
   * @template T
   * @param {number} bytes
   * @param {(address: number) => T} use
   * @returns {T}
   */
  scratch(bytes, use) {
    const address = this.#allocator.malloc(Math.max(1, bytes)) >>> 0
    if (address === 0) {
      throw new NookError('memory', `The engine has no ${bytes} bytes left for an argument.`, {
        hint: 'Pass less text at once.',
      })
    }
    try {
      return use(address)
    } finally {
      this.#allocator.free(address)
    }
  }

  /**
   * A string as NUL-terminated UTF-8 while `use` runs. Lone surrogates become U+FFFD.
   * @template T
   * @param {string} text
   * @param {(address: number, bytes: number) => T} use bytes does not count the NUL
   * @returns {T}
   */
  withString(text, use) {
    return this.withBytes(encoder.encode(text), use)
  }

  /**
   * Bytes and a NUL behind them while `use` runs.
   * @template T
   * @param {Uint8Array} bytes
   * @param {(address: number, bytes: number) => T} use
   * @returns {T}
   */
  withBytes(bytes, use) {
    return this.scratch(bytes.length + 1, (address) => {
      const all = this.bytes()
      all.set(bytes, address)
      all[address + bytes.length] = 0
      return use(address, bytes.length)
    })
  }

  /**
   * 32-bit numbers while `use` runs.
   * @template T
   * @param {ArrayLike<number>} numbers
   * @param {(address: number, count: number) => T} use
   * @returns {T}
   */
  withNumbers(numbers, use) {
    return this.scratch(numbers.length * 4, (address) => {
      this.bytes()
      new Int32Array(this.#memory.buffer, address, numbers.length).set(numbers)
      return use(address, numbers.length)
    })
  }
}

/** Reads the fields of one C struct by their names. */
export class Struct {
  /**
   * @param {Memory} memory
   * @param {Layout | undefined} layout from nook_constants()
   * @param {string} name for errors
   */
  constructor(memory, layout, name) {
    if (layout === undefined) throw new NookError('internal', `The engine does not describe its struct ${name}.`)
    this.memory = memory
    this.layout = layout
    this.name = name
  }

  /** @returns {number} bytes */
  get size() {
    return this.layout.size
  }

  /**
   * @param {number} address of the struct
   * @param {string} name of the field
   * @returns {number}
   */
  get(address, name) {
    const field = this.layout.fields[name]
    if (field === undefined) throw new NookError('internal', `${this.name} has no field ${name}.`)
    const view = this.memory.view()
    const at = address + field.offset
    switch (field.type) {
      case 'u32': case 'ptr': return view.getUint32(at, true)
      case 'i32': return view.getInt32(at, true)
      case 'f32': return view.getFloat32(at, true)
      case 'f64': return view.getFloat64(at, true)
      case 'u64': {
        const value = Number(view.getBigUint64(at, true))
        if (!Number.isSafeInteger(value)) throw new NookError('format', `${this.name}.${name} is beyond 2^53.`)
        return value
      }
      default: throw new NookError('internal', `${this.name}.${name} has the unknown type ${field.type}.`)
    }
  }

  /**
   * @param {number} address of the struct
   * @param {string} name of the field
   * @param {number} value u32 or i32
   */
  set(address, name, value) {
    const field = this.layout.fields[name]
    if (field === undefined) throw new NookError('internal', `${this.name} has no field ${name}.`)
    if (field.type !== 'u32' && field.type !== 'i32')
      throw new NookError('internal', `${this.name}.${name} is not 32 bits.`)
    this.memory.view().setUint32(address + field.offset, value >>> 0, true)
  }
}
