/* Whole models in a real Chromium: the cases of tests/shared/logits.js, inside a page under the policy of `nook serve`. */
import { runInChromium } from './engine-browser.js'

await runInChromium('logits')
