/** The cache of suspended workflows, and the outbox. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseUnavailable, InvalidRequest, LeaseLost } from '../src/_errors'
import { setLogger } from '../src/_log'
import { type Claimed, Operation } from '../src/_operations'
import { Outbox } from '../src/_outbox'
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

// --- the outbox -------------------------------------------------------------------------

interface Told {
  readonly ok?: unknown
  readonly error?: unknown
}

/** Adds items and answers what each is told, when all have been. */
async function sent(call: (items: any[]) => Promise<any>, count: number): Promise<Told[]> {
  setLogger({ debug() {}, info() {}, warn() {}, error() {} })
  const outbox = new Outbox(async (_, request) => await call((request as any).items))
  const told: Told[] = []
  for (let n = 0; n < count; n++) {
    outbox.add(Operation.RELEASE, { n }, (ok, error) => {
      told[n] = error === undefined ? { ok } : { error }
    })
  }
  await outbox.flushed(5000)
  setLogger()
  return told
}

test('items of one turn go together, a hundred at a time', async () => {
  const sizes: number[] = []
  const told = await sent(async (items) => {
    sizes.push(items.length)
    return { results: items.map(({ n }) => ({ ok: n })) }
  }, 250)
  assert.deepEqual(sizes, [100, 100, 50])
  assert.deepEqual(
    told,
    Array.from({ length: 250 }, (_, ok) => ({ ok })),
  )
})

test('what cannot be written now is tried again, alone if the others could', async () => {
  const seen: number[][] = []
  const told = await sent(async (items) => {
    seen.push(items.map(({ n }) => n))
    if (seen.length === 1) throw new DatabaseUnavailable('restarting')
    const busy = { code: 'busy', message: 'later', retryable: true }
    return {
      results: items.map(({ n }) => (n === 1 && seen.length === 2 ? { error: busy } : { ok: n })),
    }
  }, 3)
  assert.deepEqual(seen, [[0, 1, 2], [0, 1, 2], [1]])
  assert.deepEqual(told, [{ ok: 0 }, { ok: 1 }, { ok: 2 }])
})

test('a request that is refused is split, so that each has an answer of its own', async () => {
  const told = await sent(async (items) => {
    if (items.some(({ n }) => n === 1)) throw new InvalidRequest('too odd')
    const lost = { code: 'lease_lost', message: 'gone', retryable: false }
    return { results: items.map(({ n }) => (n === 2 ? { error: lost } : { ok: n })) }
  }, 3)
  assert.deepEqual(told[0], { ok: 0 })
  assert.ok(told[1]?.error instanceof InvalidRequest)
  assert.ok(told[2]?.error instanceof LeaseLost)
})

test('an answer that cannot be taken in harms no other', async () => {
  setLogger({ debug() {}, info() {}, warn() {}, error() {} })
  const outbox = new Outbox(async () => ({ results: [{ ok: 1 }, { ok: 2 }] }))
  let got: unknown
  outbox.add(Operation.RELEASE, {}, () => {
    throw new Error('broken')
  })
  outbox.add(Operation.RELEASE, {}, (ok) => {
    got = ok
  })
  await outbox.flushed(5000)
  setLogger()
  assert.equal(got, 2)
})

test('a closed outbox answers nobody', async () => {
  let answer: (reply: unknown) => void = () => {}
  const reply = new Promise((resolve) => {
    answer = resolve
  })
  const outbox = new Outbox(async () => await reply)
  let told = false
  outbox.add(Operation.RELEASE, {}, () => {
    told = true
  })
  await outbox.flushed(20)
  outbox.close()
  answer({ results: [{ ok: 1 }] })
  await outbox.flushed(1000)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(told, false)
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
