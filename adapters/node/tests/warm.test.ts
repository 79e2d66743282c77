/** The cache of suspended workflows, and a worker's waits. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Claimed } from '../src/_operations'
import type { Replay } from '../src/_replay'
import { Bell, within } from '../src/_waits'
import { Warm } from '../src/_warm'

function claimed(id: string, fields: Partial<Claimed> = {}): Claimed {
  return { id, run: 1, previous_token: `token ${id}`, after: 3, position: 5, ...fields } as Claimed
}

/** Stands in for a workflow in memory. */
function replay(id: string, position = 3) {
  const found = { claimed: claimed(id), position, isDiscarded: false, discard: () => {} }
  found.discard = () => {
    found.isDiscarded = true
  }
  return found
}

function put(warm: Warm, found: ReturnType<typeof replay>): void {
  warm.put(found as unknown as Replay, `token ${found.claimed.id}`)
}

test('a workflow comes back from memory with what is now known of it', () => {
  const warm = new Warm(2)
  const found = replay('a')
  put(warm, found)
  const again = claimed('a')
  assert.equal(warm.take(again), found)
  assert.equal(found.claimed, again)
  assert.equal(warm.take(again), undefined, 'once')
})

for (const [what, changes] of Object.entries({
  'somebody else has held since': { previous_token: 'another' },
  'is in another run': { run: 2 },
  'is behind of what the claim leaves out': { after: 4 },
  'is ahead of the database': { position: 2 },
})) {
  test(`what ${what} is discarded`, () => {
    const warm = new Warm(2)
    const found = replay('a')
    put(warm, found)
    assert.equal(warm.take(claimed('a', changes)), undefined)
    assert.deepEqual([found.isDiscarded, warm.length], [true, 0])
  })
}

test('the one that was used longest ago goes first', () => {
  const warm = new Warm(2)
  const [a, b, c, again] = [replay('a'), replay('b'), replay('c'), replay('a')]
  put(warm, a)
  put(warm, b)
  put(warm, again) // takes the place of the first, which nobody can claim any more
  put(warm, c)
  assert.deepEqual(
    [a, b, c, again].map(({ isDiscarded }) => isDiscarded),
    [true, true, false, false],
  )
  warm.clear()
  assert.deepEqual([c.isDiscarded, warm.length], [true, 0])
})

test('a cache of nothing keeps nothing', () => {
  const warm = new Warm(0)
  const found = replay('a')
  put(warm, found)
  assert.deepEqual([found.isDiscarded, warm.length], [true, 0])
})

test('a ring that nobody hears is kept for the next wait, and only for that', async () => {
  const bell = new Bell()
  bell.ring()
  await bell.wait()
  let woken = false
  const waiting = bell.wait().then(() => {
    woken = true
  })
  await within(10, waiting)
  assert.equal(woken, false)
  bell.ring()
  await waiting
})
