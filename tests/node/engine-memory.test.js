/*
 * The memory that the default model takes in Node, kept from growing: the bound of bench/memory.mjs and 10 MiB, since a
 * host of another kind maps other libraries. The bench prints the figures themselves.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nodeMemory } from '../../bench/memory.mjs'

test(
  'the default model takes at most its file × 1.1, its cache and 30 MiB over an empty Node',
  {
    skip: process.platform === 'linux' ? false : 'the peak of a process is read from /proc, which only Linux has',
  },
  (t) => {
    const rows = nodeMemory({ rounds: 1 })
    assert.equal(rows.length, 2)
    for (const row of rows) {
      t.diagnostic(JSON.stringify(row))
      assert.ok(Number(row.tokens) > 400, 'the model read and wrote')
      assert.ok(row.measured > 90e6, 'the model was in memory')
      assert.ok(
        row.measured <= Number(row.bound) + 10 * 1048576,
        `${row.what}: ${row.measured} bytes, bound ${row.bound}`,
      )
    }
  },
)
