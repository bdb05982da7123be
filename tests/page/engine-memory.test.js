/*
 * The memory that the default model takes in Chromium, kept from growing, by every way of loading: the bound of
 * bench/memory.mjs and 10 MiB. The file is never in memory twice, and a second load from OPFS is no slower than the first.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chromiumMemory } from '../../bench/memory.mjs'

test(
  'the default model takes at most its file × 1.1, its cache and 30 MiB over an empty page, by every way of loading',
  {
    skip: process.platform === 'linux' ? false : 'the peak of a process is read from /proc, which only Linux has',
  },
  async (t) => {
    const rows = await chromiumMemory({ rounds: 1 })
    assert.equal(rows.length, 4)
    for (const row of rows) {
      t.diagnostic(JSON.stringify(row))
      assert.ok(Number(row.tokens) > 400, 'the model read and wrote')
      assert.ok(row.measured > 90e6, 'the model was in memory')
      assert.ok(
        row.measured <= Number(row.bound) + 10 * 1048576,
        `${row.what}: ${row.measured} bytes, bound ${row.bound}`,
      )
    }
    const [, , first, second] = rows
    assert.ok(
      Number(second?.load_seconds) < Number(first?.load_seconds),
      'a second load, from OPFS, is faster than the first',
    )
  },
)
