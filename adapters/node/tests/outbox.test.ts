/** What a worker writes, gathered and handed in. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseUnavailable, InvalidRequest, LeaseLost } from '../src/_errors'
import { setLogger } from '../src/_log'
import { Operation } from '../src/_operations'
import { Outbox } from '../src/_outbox'

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
