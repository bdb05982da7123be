/* cli-run.mjs: runs the command line in a process of its own. */
import { spawn } from 'node:child_process'
import { CLI } from './support.mjs'

/**
 * @param {string[]} args
 * @param {{input?: string, interruptAt?: number}} [options] interruptAt: SIGINT after that many characters of stdout
 * @returns {Promise<{status: number | null, out: string, err: string}>}
 */
export function nook(args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    let interrupted = false
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
      if (options.interruptAt !== undefined && !interrupted && out.length >= options.interruptAt) {
        interrupted = true
        child.kill('SIGINT')
      }
    })
    child.stderr.setEncoding('utf8').on('data', (text) => { err += text })
    child.on('close', (status) => resolve({ status, out, err }))
    child.stdin.end(options.input ?? '')
  })
}
