/**
 * main.js: starts the page: watches the network first (so that nothing escapes the count), draws the shell, reads what is
 * kept,
 * then looks for the model.
 */
import { pageOpened, watchNetwork } from './network.js'
import { drawShell } from './shell.js'
import { listen } from './keys.js'
import { notify, dismiss } from './status.js'
import * as conversations from './conversations.js'
import * as db from './db.js'
import * as engine from './engine.js'
import { cards, served } from './models.js'
import { rooms } from './rooms.js'
import { workerAddress } from '../trusted.js'
import { t } from './strings.js'

watchNetwork()
const drawn = drawShell(/** @type {HTMLElement} */ (document.getElementById('app')))
listen()

const offline = () => {
  if (navigator.onLine) dismiss('offline')
  else notify({ id: 'offline', text: t.shell.offline, closable: true })
}
addEventListener('online', offline)
addEventListener('offline', offline)
if (!navigator.onLine) offline()

await conversations.open()
if (!(await db.kept())) notify({ id: 'kept', kind: 'warn', text: t.shell.noStore, closable: true })
await drawn
// All that the page may need later comes now, so that nothing is requested afterwards that nobody asked for.
await Promise.allSettled([cards(), served(), engine.client(), ...rooms.map((room) => room.open())])
pageOpened()
void engine.start()

if ('serviceWorker' in navigator && isSecureContext) {
  try {
    // At the root of the site, so that it also serves the engine's files and workers when there is no network.
    const registration = await navigator.serviceWorker.register(workerAddress(new URL('../sw.js', import.meta.url)))
    const first = !navigator.serviceWorker.controller
    registration.addEventListener('updatefound', () => {
      const worker = registration.installing
      worker?.addEventListener('statechange', () => {
        if (worker.state !== 'installed' || first) return
        const reload = { label: t.shell.reload, run: () => location.reload() }
        notify({ id: 'update', text: t.shell.update, actions: [reload], closable: true })
      })
    })
  } catch (error) {
    // No offline use then; everything else works. The console says why, for whoever runs the page.
    console.info(error)
  }
}
