/*
 * trusted.js: addresses of workers under Trusted Types.
 *
 * Purpose  A page with `require-trusted-types-for 'script'` starts a worker only from a TrustedScriptURL. The policy is
 *          named "nook" (CSP: `trusted-types nook`) and lets pass only addresses of the page's own origin; an address that
 *          is trusted already passes as it is.
 */
import { NookError } from './errors.js'

/** @type {any} */
let policy = null

/**
 * @param {string | URL | object} address
 * @returns {any} what `new Worker` takes
 */
export function workerAddress(address) {
  const types = /** @type {any} */ (globalThis).trustedTypes
  if (types === undefined || (typeof address === 'object' && !(address instanceof URL))) return address
  policy ??= types.createPolicy('nook', {
    createScriptURL(/** @type {string} */ text) {
      const url = new URL(text, globalThis.location?.href)
      if (url.origin !== globalThis.location?.origin) {
        throw new NookError('data', `${text} is not of this page's origin, so no worker is started from it.`, {
          hint: 'Serve worker.js yourself and pass workerUrl.',
        })
      }
      return url.href
    },
  })
  return policy.createScriptURL(String(address))
}
