/* The default model in a real Chromium: the cases of tests/shared/real.js. Figures: tests/out/real_smollm2.json. */
import { runInChromium } from './engine-browser.js'

await runInChromium('real', { figures: 'real_smollm2.json', only: (name) => !/base build|perplexity/.test(name) })
