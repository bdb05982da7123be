/* Whole models in Node: the cases of tests/shared/logits.js. */
import * as logits from '../shared/logits.js'
import { runCases } from './engine-env.js'

await runCases(logits)
