/* The files of tests/hostile in a real Chromium: the cases of tests/shared/hostile.js. */
import { runInChromium } from './engine-browser.js'

await runInChromium('hostile')
