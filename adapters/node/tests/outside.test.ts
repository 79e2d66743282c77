/** The combinators outside workflows. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all, race, shield, timeout, wait } from '../src/_combinators'
import { TimeoutError } from '../src/_errors'

test('outside workflows the combinators wait for promises of any kind', async () => {
  const later = <T>(value: T) => new Promise<T>((resolve) => setImmediate(() => resolve(value)))
  assert.deepEqual(await all([later(1), () => later('b')]), [1, 'b'])
  assert.deepEqual(await race({ never: new Promise(() => {}), soon: () => later(2) }), ['soon', 2])
  assert.equal(await shield(later(3)), 3)
  assert.equal(await timeout('1m', () => later(4)), 4)
  const [done, open] = await wait([later(5), new Promise<number>(() => {})], { timeout: 0.01 })
  assert.deepEqual([done.length, open.length], [1, 1])
})

test('outside workflows a timeout throws and lets go of what it limits', async () => {
  await assert.rejects(
    timeout(0.001, () => new Promise(() => {})),
    TimeoutError,
  )
})
