/* The files of tests/hostile in Node: the cases of tests/shared/hostile.js. */
import * as hostile from '../shared/hostile.js'
import { runCases } from '../node/engine-env.js'

await runCases(hostile)
