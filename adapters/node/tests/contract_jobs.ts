/** Scenarios of jobs, and of cancelling. */

import assert from 'node:assert/strict'
import { Operation } from '../src/_operations'
import { type Json, scenario, schedule, stop, timer, type World } from './contract_worlds'

scenario('what has the higher priority comes first', async (w) => {
  for (const [name, priority] of [['5a', 5], ['5b'], ['9', 9], ['1', 1]] as [string, number?][]) {
    await w.create('job', name, priority === undefined ? {} : { priority })
  }
  const names: string[] = []
  for (let n = 1; n <= 4; n++) {
    const held = await w.claim()
    names.push(held.name)
    await w.complete(held, n)
  }
  assert.deepEqual(names, ['9', '5a', '5b', '1'])
  return names
})

scenario('what is due later does not hold up others', async (w) => {
  await w.create('job', 'late', { priority: 9, delay_ms: 100 })
  await w.create('job', 'now', { priority: 1 })
  const names = [(await w.claim()).name, (await w.claim()).name]
  assert.deepEqual(names, ['now', 'late'])
  return names
})

scenario('retries, and the last failure', async (w) => {
  const retry = { retries: 2, initial_ms: 20, factor: 2 }
  const id = await w.create('job', 'j', { retry })
  const seen: unknown[] = []
  for (let n = 0; n < 3; n++) {
    const held = await w.claim()
    const { status } = await w.fail(held, 'Error', { details: { n: 1 } })
    seen.push([held.attempt, status])
  }
  await w.ended(id)
  const expected = ['scheduled', 'scheduled', 'failed'].map((status, n) => [n + 1, status])
  assert.deepEqual(seen, expected)
  return seen
})

scenario('a retry without delay is pending at once', async (w) => {
  await w.create('job', 'j', { retry: { retries: 1, initial_ms: 0 } })
  const first = await w.fail(await w.claim())
  return [first, await w.complete(await w.claim(), { a: [1, null] })]
})

scenario('what is not retried', async (w) => {
  await w.create('job', 'marked')
  const marked = await w.fail(await w.claim(), 'Error', { non_retryable: true })
  await w.create('job', 'listed', { retry: { non_retryable: ['RangeError'] } })
  const listed = await w.fail(await w.claim(), 'RangeError')
  assert.deepEqual([marked, listed], [{ status: 'failed' }, { status: 'failed' }])
  return [marked, listed]
})

scenario('a repeated outcome is taken, and counts once', async (w) => {
  await w.create('job', 'good')
  await w.create('job', 'bad', { retry: { retries: 0 } })
  const [good, bad] = await w.claimPair()
  const answers = [await w.complete(good, 1), await w.complete(good, 1), await w.fail(good)]
  answers.push(await w.fail(bad), await w.fail(bad), await w.complete(bad))
  const told = answers.map((answer) => answer.code ?? answer.status)
  const lost = 'lease_lost'
  assert.deepEqual(told, ['completed', 'completed', lost, 'failed', 'failed', lost])
  return answers
})

scenario('writes without a lease are refused', async (w) => {
  await w.create('job', 'j')
  const held = await w.claim()
  const wrong: Json = { ...held, lease: { epoch: 7, token: held.lease.token } }
  const answers = [await w.complete(wrong), await w.fail(wrong), await w.release(wrong, 'drain')]
  const item = { id: wrong.id, lease: wrong.lease, progress: 1 }
  const beat = { worker_id: w.workerId, items: [item] }
  const { results } = await w.call(Operation.HEARTBEAT, beat)
  answers.push({ code: results[0].error.code })
  assert.deepEqual(new Set(answers.map(({ code }) => code)), new Set(['lease_lost']))
  return answers
})

scenario('progress is there for the next attempt', async (w) => {
  await w.create('job', 'j', { retry: { retries: 1, initial_ms: 1 } })
  const held = await w.claim()
  const item = { id: held.id, lease: held.lease, progress: { done: [1, null] } }
  await w.call(Operation.HEARTBEAT, { worker_id: w.workerId, items: [item] })
  await w.fail(held)
  const again = await w.claim()
  assert.deepEqual(again.progress, { done: [1, null] })
  return [again.progress, await w.complete(again, 'x')]
})

scenario('what is released', async (w) => {
  await w.create('job', 'drained')
  const answers = [await w.release(await w.claim(), 'drain')]
  const held = await w.claim()
  answers.push(await w.release(held, 'no_function'), await w.release(held, 'no_function'))
  const again = await w.claim()
  assert.equal(again.attempt, 1)
  return [answers, again.attempt, await w.complete(again)]
})

scenario('an idempotency key answers the first', async (w) => {
  const key = { idempotency_key: w.queue }
  const first = await w.created('job', 'j', key)
  const second = await w.created('job', 'j', key)
  const other = await w.created('job', 'other', key)
  for (const each of await w.claims(2)) await w.complete(each)
  const third = await w.created('job', 'j', key)
  const seen = [first, second, other, third].map(({ created }) => created)
  assert.deepEqual(seen, [true, false, true, false])
  assert.deepEqual([second.id, third.id], [first.id, first.id])
  return seen
})

scenario('a schedule timeout', async (w) => {
  const nobody = { schedule_timeout_ms: 50, queue: `${w.queue}-nobody` }
  const late = await w.create('job', 'late', nobody)
  await w.create('job', 'begun', { schedule_timeout_ms: 200 })
  const held = await w.claim()
  assert.equal((await w.ended(late)).error.type, 'ScheduleTimeout')
  await w.complete(held)
  return (await w.ended(held.id)).status
})

scenario('a deadline ends whoever holds it', async (w) => {
  const waits = await w.create('job', 'waits', { timeout_ms: 150, delay_ms: 60_000 })
  const runs = await w.create('workflow', 'runs', { timeout_ms: 150 })
  const held = await w.claim()
  await w.advance(held, 'keep', [timer(1, 60_000)])
  const errors = [(await w.ended(waits)).error.type, (await w.ended(runs)).error.type]
  assert.deepEqual(errors, ['ExecutionTimeout', 'ExecutionTimeout'])
  return [errors, await w.advance(held, 'complete', [], { result: 'too late' })]
})

scenario('cancelling what waits', async (w) => {
  const ids = [
    await w.create('job', 'pending'),
    await w.create('job', 'scheduled', { delay_ms: 60_000 }),
    await w.create('workflow', 'not begun'),
  ]
  const answers: Json[] = []
  for (const id of ids) answers.push([await w.cancel(id), await w.cancel(id)])
  const both = [true, false].map((changed) => ({ status: 'cancelled', changed }))
  assert.deepEqual(answers, [both, both, both])
  return [answers, await w.claimNow()]
})

scenario('cancelling what runs', async (w) => {
  const id = await w.create('job', 'j')
  const held = await w.claim()
  const answers = [await w.cancel(id), await w.cancel(id)]
  const [notice = {}] = await w.notices()
  answers.push(await w.complete(held, 'its result is dropped'))
  answers.push(await w.complete(held, 'and again'))
  return [answers, notice.cancel_requested, notice.lost ?? false]
})

scenario('a cancel wins over a failure', async (w) => {
  const id = await w.create('job', 'j', { retry: { retries: 5, initial_ms: 1 } })
  const held = await w.claim()
  await w.cancel(id)
  return await w.fail(held)
})

scenario('a release of what was asked to stop ends it', async (w) => {
  const id = await w.create('job', 'j')
  const held = await w.claim()
  await w.cancel(id)
  return await w.release(held, 'drain')
})

scenario('cancelling a suspended workflow lets it clean up', async (w) => {
  const id = await w.create('workflow', 'w')
  await w.advance(await w.claim(), 'suspend', [timer(1, 60_000)])
  const answer = await w.cancel(id)
  let held = await w.claim()
  assert.ok(held.cancel_requested)
  await w.advance(held, 'suspend', [stop(1), schedule(2, 'undo', { queue: w.queue })])
  await w.complete(await w.claim(), 'undone')
  held = await w.claim()
  const end = await w.advance(held, 'complete', [], { result: 'swallowed' })
  assert.equal(end.status, 'cancelled')
  return [answer, end.status]
})

scenario('completing against a cancel', async (w) => {
  const id = await w.create('workflow', 'w')
  const held = await w.claim()
  await w.cancel(id)
  const first = await w.advance(held, 'complete', [timer(1, 60_000)], { result: 1 })
  assert.equal(first.status, 'running')
  const error = { type: 'CancelledError', message: '' }
  const second = await w.advance(held, 'fail', [], { error })
  assert.equal(second.status, 'cancelled')
  return [w.events(first.events), second.status]
})

scenario('terminating', async (w) => {
  const job = await w.create('job', 'j')
  const flow = await w.create('workflow', 'w')
  const held = await heldWorkflow(w)
  await w.advance(held, 'keep', [schedule(1, 'a', { queue: w.queue })])
  const child = await w.claim()
  const answers: Json[] = []
  for (const id of [job, flow, job]) {
    answers.push(await w.one(Operation.TERMINATE_EXECUTION, { id }))
  }
  const late = await w.advance(held, 'keep')
  await w.until(child.id, (found) => 'cancel_requested_at' in found)
  return [answers, late, await w.complete(child)]
})

async function heldWorkflow(w: World): Promise<Json> {
  const [first, second] = await w.claimPair()
  return first.kind === 'workflow' ? first : second
}
