/* serve.js: `nook serve`: the page, from this machine, with the headers that threads need. */
import { once } from 'node:events'
import { createSite, listen } from './site.js'
import { number, printJson } from './common.js'

/** @type {import('./common.js').Verb} */
export const verb = {
  summary: 'serves the page',
  usage: `nook serve [flags]

Serves the page and prints its address; Ctrl-C ends. Another port is taken when the wished one is in use.

  --port N              the port (default 8080; 0: any)
  --host H              the address to listen on (default 127.0.0.1: this machine only)
  --json                prints {"address"} instead`,
  options: { port: { type: 'string' }, host: { type: 'string' }, json: { type: 'boolean' } },
  positionals: [0, 0],
  arguments: 'no arguments',
  async run(call) {
    const port = number(call.values, 'port', { whole: true, least: 0, most: 65535 }) ?? 8080
    const host = String(call.values['host'] ?? '127.0.0.1')
    const server = createSite()
    const address = await listen(server, port, host)
    if (call.values['json'] === true) printJson({ address })
    else process.stdout.write(`Nook is at ${address} (Ctrl-C ends)\n`)
    try {
      if (!call.signal.aborted) await once(call.signal, 'abort')
    } finally {
      server.closeAllConnections()
      server.close()
    }
  },
}
