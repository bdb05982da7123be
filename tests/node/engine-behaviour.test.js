/* How a caller meets the engine, in Node: the cases of tests/shared/behaviour.js. */
import * as behaviour from '../shared/behaviour.js'
import { runCases } from './engine-env.js'

await runCases(behaviour)
