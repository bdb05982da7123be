/* The default model in Node: the cases of tests/shared/real.js. Figures: tests/out/real_smollm2.json. */
import * as real from '../shared/real.js'
import { keepFigures, runCases } from './engine-env.js'

await runCases(real, (name, figures) => keepFigures('real_smollm2.json', 'node', name, figures))
