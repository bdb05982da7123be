#!/usr/bin/env node
/*
 * vendor.mjs: brings the libraries of the page (marked, DOMPurify) and of the engine's client (jinja) from node_modules
 * into web/vendor/, where a page without a bundler can import them. Nothing there is committed; npm checks the packages
 * against package-lock.json.
 *
 *   node tools/vendor.mjs        copies what is new or changed, and says so
 */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'web', 'vendor')

/** Package, the file of it that is an ES module without imports, its name here, and its licence. */
const LIBRARIES = [
  { name: 'marked', file: 'lib/marked.esm.js', as: 'marked.js', licences: ['LICENSE.md', 'LICENSE'] },
  { name: '@huggingface/jinja', file: 'dist/index.js', as: 'jinja.js', licences: ['LICENSE'] },
  { name: 'dompurify', file: 'dist/purify.es.mjs', as: 'purify.js', licences: ['LICENSE'] },
]

/** The folder of an installed package. @param {string} name */
function packageFolder(name) {
  const require = createRequire(pathToFileURL(join(root, 'package.json')))
  let file
  try {
    file = require.resolve(name)
  } catch (cause) {
    throw new Error(`${name} is not installed: run npm install (or npm run setup) in ${root} first.`, { cause })
  }
  while (!file.endsWith(join('node_modules', name))) {
    if (file === dirname(file)) throw new Error(`${name} lies outside of node_modules.`)
    file = dirname(file)
  }
  return file
}

/** Copies both libraries. @returns {Promise<string[]>} a line for each that was copied */
export async function vendor() {
  await mkdir(target, { recursive: true })
  const done = []
  for (const { name, file, as, licences } of LIBRARIES) {
    const folder = packageFolder(name)
    const { version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
    const text = await readFile(join(folder, file), 'utf8')
    // A source map that is not served would be one more request, and a missing one.
    const wanted = `// @ts-nocheck\n${text}`.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    if (/^\s*import\s/m.test(wanted))
      throw new Error(`${name} ${version}: ${file} imports other files; choose another file of it in tools/vendor.mjs.`)
    const before = await readFile(join(target, as), 'utf8').catch(() => null)
    if (before === wanted) continue
    await writeFile(join(target, as), wanted)
    for (const licence of licences) {
      if (
        await copyFile(join(folder, licence), join(target, `${as}.LICENSE`)).then(
          () => true,
          () => false
        )
      )
        break
    }
    done.push(`web/vendor/${as}: ${name} ${version} (${license})`)
  }
  return done
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const line of await vendor()) console.error(line)
  } catch (error) {
    console.error(`vendor: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
