/* How a caller meets the engine, in a real Chromium: the cases of tests/shared/behaviour.js. */
import { runInChromium } from './engine-browser.js'

await runInChromium('behaviour')
