/** Scenarios of workflows. */

import assert from 'node:assert/strict'
import { Operation } from '../src/_operations'
import { type Json, scenario, schedule, stop, timer } from './contract_worlds'

const NOBODY = '01900000-0000-7000-8000-000000000000'

scenario('activities complete and fail', async (w) => {
  const { queue } = w
  await w.create('workflow', 'w', { args: [1, { a: null }] })
  const first = await w.advance(await w.claim(), 'suspend', [
    schedule(1, 'good', { queue, args: ['x'] }),
    schedule(2, 'bad', { queue, retry: { retries: 1, initial_ms: 30 } }),
  ])
  assert.equal(first.status, 'suspended')
  const [good, bad] = await w.claimPair()
  assert.deepEqual([good.name, good.args, bad.name], ['good', ['x'], 'bad'])
  await w.complete(good, { n: [1] })
  await w.advance(await w.claim(), 'suspend')
  const again = await w.fail(bad)
  await w.fail(await w.claim())
  const held = await w.claim()
  const end = await w.advance(held, 'complete', [], { result: 'done' })
  return [again, w.events(first.events), w.events(held.events), end.status]
})

scenario('suspending where newer events have come', async (w) => {
  const id = await w.create('workflow', 'w')
  const held = await w.claim()
  await w.signal(id, 's', { n: 1 })
  const first = await w.advance(held, 'suspend', [timer(1, 60_000)])
  assert.equal(first.status, 'running')
  return [w.events(first.events), (await w.advance(held, 'suspend')).status]
})

scenario('signals are buffered in order, and keyed ones come once', async (w) => {
  const id = await w.create('workflow', 'w')
  const other = await w.create('workflow', 'other')
  for (let n = 0; n < 3; n++) await w.signal(id, 's', n)
  const key = { idempotency_key: 'key' }
  const keyed = [
    await w.signal(id, 'k', 'first', key),
    await w.signal(id, 'k', 'second', key),
    await w.signal(other, 'k', null, key),
  ]
  const delivered = keyed.map((answer) => answer.delivered)
  assert.deepEqual(delivered, [true, false, true])
  const [first, second] = await w.claimPair()
  for (const held of [first, second]) await w.advance(held, 'complete', [], { result: null })
  const late = [await w.signal(id, 'late'), await w.signal(id, 'k', null, key)]
  return [keyed, w.events(first.events), late, await w.signal(NOBODY, 's')]
})

scenario('jobs take no signals', async (w) => {
  return await w.signal(await w.create('job', 'j'), 's')
})

scenario('timers fire in order', async (w) => {
  await w.create('workflow', 'w')
  let held = await w.claim()
  const answer = await w.advance(held, 'suspend', [
    timer(1, 90, 'late'),
    timer(2, 30),
    timer(3, 60_000),
    timer(4, 0, 'zero'),
  ])
  assert.equal(answer.status, 'running')
  let fired: Json[] = []
  while (fired.length < 3) {
    let status = 'running' // a timer may fire while it suspends
    while (status === 'running') status = (await w.advance(held, 'suspend')).status
    held = await w.claim()
    fired = held.events.filter((event: Json) => event.type === 'timer_fired')
  }
  await w.advance(held, 'keep', [stop(3)])
  const seen = fired.map((event) => event.sequence)
  assert.deepEqual(seen, [4, 2, 1])
  return (await w.advance(held, 'complete', [], { result: seen })).status
})

scenario('cancelling by sequence', async (w) => {
  const { queue } = w
  await w.create('workflow', 'w')
  const held = await w.claim()
  await w.advance(held, 'keep', [
    schedule(1, 'waits', { queue }),
    schedule(2, 'child', { kind: 'workflow', queue, delay_ms: 60_000 }),
    timer(3, 60_000),
  ])
  const running = await w.claim()
  const stillborn = schedule(4, 'stillborn', { queue })
  const commands = [stop(1), stop(2), stop(3), stop(3), stillborn, stop(4)]
  const answer = await w.advance(held, 'suspend', commands)
  const late = await w.complete(running, 'nobody hears of it')
  return [answer.status, w.events(answer.events), late]
})

scenario('children report how they ended', async (w) => {
  const { queue } = w
  const child = { kind: 'workflow', queue }
  await w.create('workflow', 'w')
  await w.advance(await w.claim(), 'suspend', [
    ...[1, 2, 3].map((n) => schedule(n, `child ${n}`, child)),
    schedule(4, 'child 4', { ...child, timeout_ms: 1, delay_ms: 60_000 }),
  ])
  const [first, second, third] = (await w.claims(3)) as [Json, Json, Json]
  await w.advance(await w.claim(), 'suspend') // the timeout of the fourth
  const ends: unknown[] = []
  const error = { type: 'E', message: 'm', details: { a: 1 } }
  ends.push((await w.advance(first, 'complete', [], { result: { x: 1 } })).status)
  await w.advance(await w.claim(), 'suspend')
  ends.push((await w.advance(second, 'fail', [], { error })).status)
  await w.advance(await w.claim(), 'suspend')
  ends.push(await w.cancel(third.id))
  await w.advance(third, 'keep')
  ends.push((await w.advance(third, 'complete', [], { result: 1 })).status)
  const held = await w.claim()
  await w.advance(held, 'complete', [], { result: null })
  return [w.events(held.events), ends]
})

scenario('what becomes of children when the parent ends', async (w) => {
  const { queue } = w
  await w.create('workflow', 'w')
  const held = await w.claim()
  await w.advance(held, 'keep', [
    schedule(1, 'cancelled', { kind: 'workflow', queue, delay_ms: 60_000 }),
    schedule(2, 'detached', { kind: 'workflow', queue, close_policy: 'detach' }),
    schedule(3, 'running', { queue }),
    schedule(4, 'later', { queue, delay_ms: 60_000 }),
  ])
  const [detached, running] = await w.claimPair()
  assert.deepEqual([detached.name, running.name], ['detached', 'running'])
  const grandchild = schedule(1, 'grandchild', { queue, delay_ms: 60_000 })
  await w.advance(detached, 'suspend', [grandchild])
  await w.advance(held, 'complete', [], { result: null })
  for (const event of (await w.call(Operation.GET_HISTORY, { id: held.id })).events) {
    const id = event.payload?.id
    if (id === undefined) continue
    w.name(id)
    if (event.name !== 'detached') await w.until(id, (found) => 'cancel_requested_at' in found)
  }
  return [await w.complete(running), await w.signal(detached.id, 's')]
})

scenario('a cascade goes all the way down', async (w) => {
  const root = await w.create('workflow', 'root')
  let held = await w.claim()
  const chain = [root]
  for (let depth = 0; depth < 3; depth++) {
    const child = schedule(1, `level ${depth}`, { kind: 'workflow', queue: w.queue })
    await w.advance(held, 'suspend', [child])
    held = await w.claim()
    chain.push(held.id)
  }
  await w.advance(held, 'suspend', [timer(1, 60_000)])
  await w.cancel(root)
  for (const id of chain) {
    held = await w.claim()
    assert.equal(held.id, id)
    await w.advance(held, 'fail', [], { error: { type: 'CancelledError', message: '' } })
  }
  const statuses: string[] = []
  for (const id of chain) statuses.push((await w.get(id)).status)
  return statuses
})

scenario('steps, state and versions', async (w) => {
  await w.create('workflow', 'w')
  const held = await w.claim()
  const commands = [
    { type: 'set_state', sequence: 1, state: { at: [1, null] } },
    { type: 'mark_version', sequence: 2, name: 'change', version: 3 },
  ]
  const first = await w.advance(held, 'keep', commands)
  const before = { ...held }
  const done = { type: 'step_completed', sequence: 3, name: 's', payload: { a: 1 } }
  const failed = { type: 'step_failed', sequence: 4, name: 't', payload: { type: 'E' } }
  const second = await w.advance(held, 'suspend', [], { events: [done, failed] })
  assert.equal(second.status, 'running', "a step's outcome is news to the workflow itself")
  const repeat = await w.advance(before, 'keep', commands, { events: [done] })
  const third = await w.advance(held, 'suspend')
  const told = [first, second, repeat].map(({ events }) => w.events(events))
  return [told, third.status]
})

scenario('a repeated advance writes nothing twice', async (w) => {
  await w.create('workflow', 'w')
  const held = await w.claim()
  const before = { ...held }
  const late = schedule(1, 'a', { queue: w.queue, delay_ms: 60_000 })
  const commands = [late, timer(2, 60_000)]
  const first = await w.advance(held, 'suspend', commands)
  const again = await w.advance(before, 'suspend', commands)
  assert.deepEqual([first.status, again.status], ['suspended', 'suspended'])
  return [first.status, again.status]
})

scenario('a workflow that does not fit is parked', async (w) => {
  const id = await w.create('workflow', 'w')
  const first = await w.claim()
  await w.advance(first, 'keep', [timer(1, 40)])
  const answers = [await w.release(first, 'non_determinism', { message: 'why' })]
  await w.signal(id, 's')
  await w.until(id, (found) => found.history_length === 4)
  assert.deepEqual(await w.claimNow(), [])
  answers.push(await w.one(Operation.RESUME_WORKFLOW, { id }))
  answers.push(await w.one(Operation.RESUME_WORKFLOW, { id }))
  const held = await w.claim()
  await w.advance(held, 'complete', [], { result: 1 })
  return [answers, w.events(held.events)]
})

scenario('cancelling what is parked ends it', async (w) => {
  const id = await w.create('workflow', 'w')
  await w.release(await w.claim(), 'non_determinism', { message: 'why' })
  return await w.cancel(id)
})

scenario('another language does not go on with a workflow', async (w) => {
  const id = await w.create('workflow', 'w')
  await w.advance(await w.claim(), 'suspend', [timer(1, 60_000)])
  const python = await w.worker({ language: 'python' })
  await w.signal(id, 's')
  const other = await w.claimNow(1, python)
  const held = await w.claim()
  await w.advance(held, 'complete', [], { result: null })
  await w.call(Operation.STOP_WORKER, { worker_id: python })
  return [other.length, held.events.length]
})

scenario('a stopped worker puts back what it held', async (w) => {
  await w.create('job', 'j')
  await w.create('workflow', 'w')
  const worker_id = await w.worker()
  await w.claims(2, worker_id)
  await w.call(Operation.STOP_WORKER, { worker_id, drain: true })
  const { draining } = await w.call(Operation.CLAIM, { worker_id, n: 1 })
  const { released } = await w.call(Operation.STOP_WORKER, { worker_id })
  const gone = await w.refused(Operation.CLAIM, { worker_id, n: 1 })
  const held = await w.claims(2)
  const seen = held.map(({ kind, attempt }) => [kind, attempt]).sort()
  assert.deepEqual(seen, [
    ['job', 1],
    ['workflow', 1],
  ])
  for (const { id, lease } of held) {
    await w.one(Operation.COMPLETE_EXECUTION, { id, lease, position: 1 })
  }
  return [draining, released, gone, seen]
})

scenario('a retried workflow keeps what had an outcome', async (w) => {
  const { queue } = w
  const id = await w.create('workflow', 'w')
  await w.advance(await w.claim(), 'suspend', [schedule(1, 'good', { queue })])
  await w.complete(await w.claim(), 1)
  let held = await w.claim()
  const bad = schedule(2, 'bad', { queue, retry: { retries: 0 } })
  await w.signal(id, 's', 1, { idempotency_key: 'key' })
  await w.advance(held, 'keep', [bad, timer(3, 60_000)])
  await w.fail(await w.claim())
  await w.until(id, (found) => found.history_length === 7)
  const answer = await w.advance(held, 'keep')
  await w.advance(held, 'fail', [], { error: { type: 'E', message: 'm', sequence: 2 } })
  const early = await w.one(Operation.RETRY_EXECUTION, { id })
  const keyed = await w.signal(id, 's', 1, { idempotency_key: 'key' })
  held = await w.claim()
  await w.advance(held, 'complete', [], { result: 'at last' })
  const again = await w.one(Operation.RETRY_EXECUTION, { id })
  return [w.events(answer.events), early, keyed, w.events(held.events), again]
})

scenario('a retried workflow keeps no failure that came later', async (w) => {
  const { queue } = w
  const id = await w.create('workflow', 'w')
  const asked = [1, 2].map((n) => schedule(n, `a${n}`, { queue, retry: { retries: 0 } }))
  await w.advance(await w.claim(), 'suspend', asked)
  for (const each of await w.claimPair()) await w.fail(each)
  const error = { type: 'E', message: 'm', sequence: 1 }
  await w.advance(await w.claim(), 'fail', [], { error })
  await w.one(Operation.RETRY_EXECUTION, { id })
  const { events } = await w.claim()
  assert.deepEqual(
    events.map(({ type }: Json) => type),
    ['started', 'retried'],
  )
  return w.events(events)
})

scenario('a retried job begins anew', async (w) => {
  const id = await w.create('job', 'j', { retry: { retries: 0 }, timeout_ms: 60_000 })
  await w.fail(await w.claim())
  const answers = [await w.one(Operation.RETRY_EXECUTION, { id })]
  const held = await w.claim()
  answers.push(await w.complete(held, 2), await w.one(Operation.RETRY_EXECUTION, { id }))
  return [answers, held.attempt]
})

scenario('reading', async (w) => {
  const { queue } = w
  const ids: string[] = []
  for (let n = 0; n < 3; n++) ids.push(await w.create('job', 'read', { args: [n] }))
  const page = await w.call(Operation.LIST_EXECUTIONS, { queue, limit: 2 })
  const { cursor } = page
  const rest = await w.call(Operation.LIST_EXECUTIONS, { queue, limit: 2, cursor })
  const listed: string[] = [...page.executions, ...rest.executions].map(({ id }) => id)
  assert.deepEqual(listed, ids.toReversed())
  const flow = await w.create('workflow', 'w')
  for (let n = 0; n < 5; n++) await w.signal(flow, 's', n)
  const part = await w.call(Operation.GET_HISTORY, { id: flow, after: 1, limit: 2 })
  const unknown = await w.refused(Operation.GET_EXECUTION, { id: NOBODY })
  const failed = await w.call(Operation.LIST_EXECUTIONS, { queue, status: ['failed'] })
  const names = listed.map((id) => w.names.get(id))
  return [names, w.events(part.events), part.more, unknown, failed.executions]
})

scenario('what is too large is refused', async (w) => {
  const { queue } = w
  const large = 'x'.repeat(1 << 20)
  const items = [{ kind: 'job', name: 'j', queue, args: [large] }]
  const code = await w.refused(Operation.CREATE_EXECUTION, { items })
  await w.create('job', 'j')
  await w.create('workflow', 'w')
  const [job, flow] = await w.claimPair()
  assert.equal(job.kind, 'job')
  const answers = [
    await w.complete(job, large),
    await w.advance(flow, 'keep', [schedule(1, 'a', { queue, args: [large] })]),
    await w.signal(flow.id, 's', large),
  ]
  const codes = new Set([code, ...answers.map((answer) => answer.code)])
  assert.deepEqual(codes, new Set(['payload_too_large']))
  return [answers, await w.complete(job)]
})
