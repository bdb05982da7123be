/* run.js: what the tests of this folder share: builds of the sanitized programs, processes that are watched, and files. */
import { spawn } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))
/** Folder of the builds; another one while several people test in one tree. */
export const builds = process.env['NOOK_BUILDS'] ?? join(root, 'build')
export const deep = process.env['NOOK_DEEP'] === '1'
export const seed = process.env['NOOK_SEED'] ?? '20251'
export const outFolder = join(builds, 'mutation')
mkdirSync(outFolder, { recursive: true })

const jobs = process.env['NOOK_JOBS'] ?? '2'

/**
 * Runs a program from the repository's root. `quietSeconds` without a byte of output ends it: it hangs.
 * @param {string} command @param {string[]} args
 * @param {{quietSeconds?: number, stdoutTo?: string, env?: Record<string, string>}} [options]
 * @returns {Promise<{status: number, out: string, err: string, hung: boolean, seconds: number}>}
 */
export function run(command, args, { quietSeconds = 600, stdoutTo, env = {} } = {}) {
  return new Promise((resolve) => {
    const started = Date.now()
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    const texts = { out: '', err: '' }
    let hung = false
    let timer = setTimeout(() => {}, 0)
    const heard = () => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        hung = true
        child.kill('SIGKILL')
      }, quietSeconds * 1000)
    }
    heard()
    const file = stdoutTo === undefined ? undefined : createWriteStream(stdoutTo)
    if (file !== undefined) child.stdout.pipe(file)
    child.stdout.on('data', (chunk) => {
      heard()
      if (file === undefined) texts.out += chunk
    })
    child.stderr.on('data', (chunk) => {
      heard()
      texts.err += chunk
    })
    const done = (/** @type {number} */ status) => {
      clearTimeout(timer)
      const seconds = (Date.now() - started) / 1000
      const finish = () => resolve({ status, ...texts, hung, seconds })
      if (file === undefined) finish()
      else file.end(finish)
    }
    child.on('error', (error) => {
      texts.err += error.message
      done(127)
    })
    child.on('close', (status) => done(status ?? 1))
  })
}

/**
 * Builds targets of a preset; what is built already takes seconds.
 * @param {string} preset @param {string[]} targets @param {string[]} [defines]
 * @returns {Promise<string>} '' or what went wrong
 */
export async function build(preset, targets, defines = []) {
  const folder = join(builds, preset)
  const configured = await run('cmake', ['--preset', preset, '-B', folder, ...defines])
  if (configured.status !== 0)
    return `cmake --preset ${preset} failed:\n${configured.out.slice(-2000)}${configured.err.slice(-2000)}`
  const built = await run('cmake', ['--build', folder, '-j', jobs, '--target', ...targets])
  return built.status === 0 ? '' : `${preset} does not build:\n${built.out.slice(-4000)}${built.err.slice(-2000)}`
}

/** @param {string} preset @param {string} folder @param {string} name @returns {string} a program of a build */
export const program = (preset, folder, name) => join(builds, preset, folder, name)

/** Whether this machine's compiler makes 32-bit programs with sanitizers that run here. @returns {Promise<boolean>} */
export async function has32Bits() {
  const probe = join(outFolder, `probe32-${process.pid}`)
  const source = join(root, 'tests', 'mutation', 'probe.c')
  const made = await run('cc', ['-m32', '-fsanitize=address,undefined', '-o', probe, source])
  const runs = made.status === 0 && (await run(probe, [])).status === 0
  rmSync(probe, { force: true })
  return runs
}

/** @param {string} path @returns {string} the file's name, for sentences */
export const nameOf = (path) => basename(path)

/** @param {string} path */
export const there = (path) => existsSync(join(root, path))
