/*
 * source.js: what a file is to the engine, and small helpers around it.
 *
 * Purpose  C asks for ranges of files and never opens one; a FileSource answers. Sources: fetch.js (HTTP), blob.js (Blob,
 *          File, what was dropped on the page), opfs.js (the browser's own files), fs.js (Node).
 * Contract readInto(view, offset, length) writes exactly `length` bytes of the file from `offset` to view[0 .. length), at
 *          once (returns undefined: the bytes go straight into the engine's memory) or later (returns a promise; the view
 *          must stay valid until then). Fewer bytes in the file than asked for is a NookError `format`; a failing medium is
 *          `download` (network) or `data` (disk). Offsets ascend while data are read, so that a stream can be consumed
 *          once.
 */
import { NookError } from '../errors.js'

/**
 * @typedef {object} FileSource
 * @property {string} name for sentences
 * @property {number} size bytes
 * @property {(view: Uint8Array, offset: number, length: number) => void | Promise<void>} readInto
 * @property {() => void | Promise<void>} close
 */

/**
 * @param {string} name @param {number} offset @param {number} length @param {number} size
 * @returns {NookError}
 */
export function tooShort(name, offset, length, size) {
  return new NookError('format', `${name} ends at byte ${size}, but bytes ${offset} to ${offset + length} were asked for.`,
    { hint: 'The file is cut off: fetch it again.' })
}

/**
 * The names of all files of a split GGUF, from the name of one ("…-00002-of-00005.gguf"); one name when it is not split.
 * @param {string} name
 * @returns {string[]}
 */
export function splitNames(name) {
  const match = /^(.*)-(\d{5})-of-(\d{5})(\.gguf(?:[?#].*)?)$/i.exec(name)
  if (match === null) return [name]
  const count = Number(match[3])
  if (count < 1 || count > 999) return [name]
  return Array.from({ length: count }, (_, i) => `${match[1]}-${String(i + 1).padStart(5, '0')}-of-${match[3]}${match[4]}`)
}

/** The last part of a path or URL, for sentences. @param {string} address @returns {string} */
export function baseName(address) {
  const plain = address.replace(/[?#].*$/, '')
  return plain.slice(Math.max(plain.lastIndexOf('/'), plain.lastIndexOf('\\')) + 1) || address
}
