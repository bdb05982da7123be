/*
 * turns.js: how a worker lets messages in between two steps of C, at once and without a timer.
 */

/**
 * Lets waiting messages in. Browsers: a message to oneself, one task per turn. Node: setImmediate, which lets the loop poll
 * once; a MessagePort there would hand out up to 1,000 messages to itself before it looks at any other port.
 */
export class Turns {
  /** @type {MessageChannel | null} */ #channel = null
  /** @type {(() => void)[]} */ #waiting = []

  /** @returns {Promise<void>} */
  next() {
    if (typeof setImmediate === 'function') return new Promise((resolve) => { setImmediate(resolve) })
    if (this.#channel === null) {
      this.#channel = new MessageChannel()
      this.#channel.port1.onmessage = () => this.#waiting.shift()?.()
    }
    const { port2 } = this.#channel
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      port2.postMessage(0)
    })
  }

  close() {
    this.#channel?.port1.close()
  }
}
