/** Scenarios of runs, starts with signals, deadlines, warm claims and bounds. */

import assert from 'node:assert/strict'
import { Operation } from '../src/_operations'
import { type Json, scenario, schedule, stop, timer } from './contract_worlds'

scenario('the id of another is refused', async (w) => {
  const id = await w.create('job', 'other', { delay_ms: 60_000 })
  await w.create('workflow', 'w')
  const held = await w.claim()
  const answer = await w.advance(held, 'keep', [schedule(1, 'a', { queue: w.queue, id })])
  assert.deepEqual(answer, { code: 'invalid_request' })
  return (await w.advance(held, 'complete', [], { result: null })).status
})

scenario('children inherit an earlier deadline', async (w) => {
  const { queue } = w
  await w.create('workflow', 'w', { timeout_ms: 60_000 })
  const held = await w.claim()
  await w.advance(held, 'suspend', [
    schedule(1, 'own', { queue, timeout_ms: 1000 }),
    schedule(2, 'inherits', { queue }),
    schedule(3, 'earlier', { queue, timeout_ms: 600_000 }),
    schedule(4, 'detached', { queue, close_policy: 'detach' }),
  ])
  const seen: Json = {}
  for (const child of await w.claims(4)) {
    seen[child.name] = child.deadline_at === held.deadline_at
    await w.complete(child)
  }
  assert.deepEqual(seen, { own: false, inherits: true, earlier: true, detached: false })
  return seen
})

scenario('continuing as new', async (w) => {
  const { queue } = w
  const id = await w.create('workflow', 'w', { args: [1] })
  for (let n = 0; n < 3; n++) await w.signal(id, 's', n)
  let held = await w.claim()
  const later = { kind: 'workflow', queue, delay_ms: 60_000 }
  await w.advance(held, 'keep', [
    timer(1, 60_000),
    schedule(2, 'child', later),
    schedule(3, 'detached', { ...later, close_policy: 'detach' }),
  ])
  await w.signal(id, 'late', null, { idempotency_key: 'key' })
  const next = { args: [2], kwargs: { k: 1 }, carry: [2] }
  const again = await w.advance(held, 'continue', [], next)
  assert.equal(again.status, 'pending')
  await w.signal(id, 'late', null, { idempotency_key: 'key' })
  await w.signal(id, 'later')
  held = await w.claim()
  assert.deepEqual([held.run, held.args, held.kwargs], [2, [2], { k: 1 }])
  const end = await w.advance(held, 'complete', [], { result: 'done' })
  return [w.events(held.events), end.status]
})

scenario('continuing against a cancel', async (w) => {
  const id = await w.create('workflow', 'w')
  const held = await w.claim()
  await w.cancel(id)
  const next = { args: [2], kwargs: {}, carry: [] }
  const answer = await w.advance(held, 'continue', [], next)
  const end = await w.advance(held, 'continue', [], next)
  return [answer.status, w.events(answer.events), end.status]
})

scenario('a cancel between two runs', async (w) => {
  const id = await w.create('workflow', 'w')
  await w.advance(await w.claim(), 'suspend', [timer(1, 30)])
  await w.advance(await w.claim(), 'continue')
  const answers = [await w.cancel(id), await w.cancel(id)]
  const held = await w.claim()
  const end = await w.advance(held, 'complete', [], { result: 'swallowed' })
  return [answers, held.attempt, w.events(held.events), end.status]
})

scenario('a retry after continuing', async (w) => {
  const id = await w.create('workflow', 'w', { args: [1] })
  await w.advance(await w.claim(), 'continue', [], { args: [2] })
  await w.advance(await w.claim(), 'fail', [], { error: { type: 'E', message: 'm' } })
  await w.one(Operation.RETRY_EXECUTION, { id })
  const held = await w.claim()
  await w.advance(held, 'complete', [], { result: null })
  return [held.run, held.args, w.events(held.events)]
})

scenario('signals of a start are for workflows', async (w) => {
  const { queue } = w
  const signals = [{ name: 's' }]
  const items = [{ kind: 'job', name: 'j', queue, signals }]
  const code = await w.refused(Operation.CREATE_EXECUTION, { items })
  await w.create('workflow', 'w')
  const child = schedule(1, 'child', { kind: 'workflow', queue, signals })
  const answer = await w.advance(await w.claim(), 'keep', [child])
  assert.deepEqual([code, answer.code], ['invalid_request', 'invalid_request'])
  return [code, answer]
})

scenario('signals with the start', async (w) => {
  const add = { name: 'add', payload: 1 }
  const both = [add, { name: 'add', payload: 2, idempotency_key: 'two' }]
  const key = { idempotency_key: w.queue }
  const first = await w.created('workflow', 'w', { ...key, signals: both })
  const second = await w.created('workflow', 'w', { ...key, signals: both })
  const held = await w.claim()
  await w.advance(held, 'complete', [], { result: null })
  const third = await w.created('workflow', 'w', { ...key, signals: [add] })
  const seen = [first, second, third].map(({ created, signaled }) => [created, signaled])
  assert.deepEqual(seen, [
    [true, true],
    [false, true],
    [false, false],
  ])
  return [seen, w.events(held.events)]
})

scenario('a warm claim brings newer events only, and says what the code has met', async (w) => {
  w.workerId = await w.worker({ warm: true })
  const id = await w.create('workflow', 'w')
  const held = await w.claim()
  const { token } = held.lease
  await w.advance(held, 'suspend', [timer(1, 60_000)])
  await w.signal(id, 's', 1)
  const again = await w.claim()
  assert.deepEqual([again.after, again.previous_token, again.seen], [2, token, 2])
  await w.advance(again, 'complete', [], { result: null })
  return [again.after, again.seen, w.events(again.events)]
})

scenario('a cold claim says what the code has met', async (w) => {
  const id = await w.create('workflow', 'w')
  await w.advance(await w.claim(), 'suspend', [timer(1, 60_000)])
  await w.signal(id, 's', 1)
  const held = await w.claim()
  assert.deepEqual([held.after ?? 0, held.seen, held.events.length], [0, 2, 3])
  await w.release(held, 'drain')
  const again = await w.claim()
  assert.equal(again.seen ?? 0, 0)
  await w.advance(again, 'complete', [], { result: null })
  return [held.seen, again.seen ?? 0]
})

scenario(
  'a history has a bound',
  async (w) => {
    const id = await w.create('workflow', 'w')
    const held = await w.claim()
    const timers = Array.from({ length: 99 }, (_, n) => timer(n + 1, 60_000))
    const tooMany = await w.advance(held, 'keep', [...timers, timer(100, 60_000)])
    const zero = await w.advance(held, 'keep', [...timers.slice(0, 98), timer(99, 0)])
    const fits = await w.advance(held, 'keep', timers)
    const told: unknown[] = [tooMany, zero, fits.code ?? fits.status, await w.signal(id, 's')]
    told.push(await w.advance(held, 'keep', [timer(101, 60_000)]))
    told.push((await w.advance(held, 'keep', [stop(1), stop(2)])).status)
    const last = schedule(102, 'a', { queue: w.queue })
    told.push((await w.advance(held, 'complete', [last])).status)
    const code = { code: 'history_too_long' }
    assert.deepEqual(told.slice(0, 4), [code, code, 'running', code])
    return told
  },
  100,
)
