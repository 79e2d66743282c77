/** The client and handles, against an engine that answers what a test tells it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, client, configure, replaceDefault } from '../src/_client'
import type { Engine } from '../src/_engine'
import {
  DatabaseUnavailable,
  ExecutionFinished,
  ExecutionNotFound,
  InvalidDuration,
  TimeoutError,
} from '../src/_errors'
import { job, workflow } from '../src/_functions'
import { Handle } from '../src/_handles'
import { Operation } from '../src/_operations'
import { ExecutionCancelled, ExecutionFailed, ResultTimeout } from '../src/_outcomes'
import { loadReply } from '../src/_payload'
import { withClient } from './trial'

const ID = '0199a0b0-0000-7000-8000-000000000001'

type Answer = object | Error | ((request: any) => unknown)

/** A client whose engine gives the answers of a test, one after the other. */
class ToldClient extends Client {
  readonly calls: [Operation, any][] = []
  readonly answers: Answer[]
  closed = 0

  constructor(...answers: Answer[]) {
    super()
    this.answers = answers
  }

  override get engine(): Engine {
    return { call: this.#call, close: async () => this.closed++ } as unknown as Engine
  }

  readonly #call = async (operation: Operation, request: object): Promise<unknown> => {
    await null
    this.calls.push([operation, structuredClone(request)])
    const answer = this.answers.shift()
    if (answer instanceof Error) throw answer
    return typeof answer === 'function' ? answer(request) : answer
  }
}

function execution(status: string, more: object = {}): object {
  return { id: ID, status, ...more }
}

function handle<R>(client: Client): Handle<R> {
  return new Handle<R>(ID, { client })
}

// --- making -----------------------------------------------------------------------------

test('creating answers in order, and spells the wire for its caller', async () => {
  const created = [
    { id: 'a', created: true },
    { id: 'b', created: false, signaled: true },
  ]
  const client = new ToldClient({ results: created })
  const at = '2026-01-01T00:00:00Z'
  const answer = await client.create([
    { kind: 'job', name: 'mail', args: [{ someKey: 1 }], runAt: at, retry: { initialMs: 5 } },
    { kind: 'workflow', name: 'w', signals: [{ name: 'go', idempotencyKey: 'k' }] },
  ])
  assert.deepEqual(answer, created)
  const items = [
    {
      kind: 'job',
      name: 'mail',
      args: [{ someKey: 1 }],
      run_at: at,
      retry: { initial_ms: 5 },
    },
    {
      kind: 'workflow',
      name: 'w',
      signals: [{ name: 'go', idempotency_key: 'k', payload: null }],
    },
  ]
  assert.deepEqual(client.calls, [[Operation.CREATE_EXECUTION, { items }]])
})

test('creating nothing asks nobody, and what is not JSON is refused before', async () => {
  const client = new ToldClient()
  assert.deepEqual(await client.create([]), [])
  await assert.rejects(client.create([{ kind: 'job', name: 'a', args: [1n] }]), { path: 'args[0]' })
  assert.deepEqual(client.calls, [])
})

test('a function is queued through the client, and its result waited for', async () => {
  const add = job('add', (a: number, b: number) => a + b)
  const created = { results: [{ id: ID, created: true }] }
  const client = new ToldClient(created, execution('completed', { result: 3 }), created)
  await withClient(client, async () => {
    assert.equal(await add.run(1, 2), 3)
    const queued = await add.queue(1, 2)
    assert.deepEqual([queued.id, queued.created, queued.client], [ID, true, client])
  })
  const [[, first], , [, second]] = client.calls as [any, any, any]
  assert.deepEqual(first.items, [{ kind: 'job', name: 'add', args: [1, 2], awaited: true }])
  assert.deepEqual(second.items, [{ kind: 'job', name: 'add', args: [1, 2] }])
})

test('a signal that came too late for its execution is told', async () => {
  const cart = workflow('cart', () => 1).options({ idempotencyKey: 'k', signal: ['add', 1] })
  const client = new ToldClient({ results: [{ id: ID, created: false, signaled: false }] })
  await withClient(client, () => assert.rejects(cart.queue(), ExecutionFinished))
})

// --- waiting ----------------------------------------------------------------------------

test('a result is waited for in slices', async () => {
  const client = new ToldClient(
    execution('running'),
    execution('suspended'),
    execution('completed', { result: { a: 1 } }),
  )
  assert.deepEqual(await handle(client).result(), { a: 1 })
  assert.deepEqual(
    client.calls,
    Array.from({ length: 3 }, () => [Operation.WAIT_EXECUTION, { id: ID, wait_ms: 30_000 }]),
  )
})

test('no result is null', async () => {
  assert.equal(await handle(new ToldClient(execution('completed'))).result(), null)
})

test('a result that JavaScript cannot hold is refused by its path', async () => {
  const reply = loadReply(`{"id":"${ID}","status":"completed","result":{"n":9007199254740993}}`)
  await assert.rejects(handle(new ToldClient(reply)).result(), { path: 'result.n' })
})

test('a result that is late is a typed timeout and can be asked for again', async () => {
  const client = new ToldClient(execution('running'), execution('completed', { result: 7 }))
  const late = handle(client).result({ timeout: 0 })
  await assert.rejects(late, (error) => {
    assert(error instanceof ResultTimeout && error instanceof TimeoutError)
    return error.id === ID && error.message.includes('did not end within 0 s')
  })
  assert.equal(await handle(client).result({ timeout: '5m' }), 7)
})

test('a timeout that is nonsense is refused before anything is asked', async () => {
  const client = new ToldClient()
  await assert.rejects(handle(client).result({ timeout: 'soon' }), InvalidDuration)
  assert.deepEqual(client.calls, [])
})

test('an aborted wait rejects with the reason of the signal, also between two tries', async () => {
  const reason = new Error('enough')
  const gone = AbortSignal.abort(reason)
  const unasked = new ToldClient()
  await assert.rejects(handle(unasked).result({ signal: gone }), reason)
  assert.deepEqual(unasked.calls, [])
  const later = new AbortController()
  const away = () => {
    setImmediate(() => later.abort(reason))
    throw new DatabaseUnavailable('away')
  }
  await assert.rejects(handle(new ToldClient(away)).result({ signal: later.signal }), reason)
})

test('a failure has the remote type, message, stack and causes', async () => {
  const error = {
    type: 'CardDeclined',
    message: 'no funds',
    stack: '  File "shop.py"',
    language: 'python',
    cause: { type: 'KeyError', message: "'x'" },
  }
  const failed = handle(new ToldClient(execution('failed', { error }))).result()
  await assert.rejects(failed, (raised) => {
    assert(raised instanceof ExecutionFailed)
    assert.deepEqual(
      [raised.id, raised.type, raised.message, raised.remoteStack],
      [ID, 'CardDeclined', 'no funds', '  File "shop.py"'],
    )
    assert.equal(raised.cause?.language, 'python')
    assert.equal(raised.cause?.cause?.type, 'KeyError')
    return true
  })
})

test('a cancelled execution has no result', async () => {
  const error = { type: 'Cancelled', message: 'why' }
  const cancelled = handle(new ToldClient(execution('cancelled', { error }))).result()
  await assert.rejects(cancelled, (raised) => {
    assert(raised instanceof ExecutionCancelled)
    return raised.id === ID && raised.message.endsWith('has no result: why')
  })
})

test('an unknown id is not found', async () => {
  const client = new ToldClient(new ExecutionNotFound('no x'))
  await assert.rejects(handle(client).result(), ExecutionNotFound)
})

test('a database that is away for a moment is waited for', async () => {
  const away = new DatabaseUnavailable('away')
  const done = execution('completed', { result: 7 })
  const client = new ToldClient(away, away, execution('running'), away, done)
  assert.equal(await handle(client).result(), 7)
})

test('a database that stays away is an error', async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const away = () => {
    now += 40_000
    throw new DatabaseUnavailable('away')
  }
  const client = new ToldClient(away, away, away, execution('completed'))
  await assert.rejects(handle(client).result(), DatabaseUnavailable)
  assert.equal(client.calls.length, 3)
})

test('patience begins anew with every answer', async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const away = () => {
    now += 40_000
    throw new DatabaseUnavailable('away')
  }
  const done = execution('completed', { result: 7 })
  const client = new ToldClient(away, away, execution('running'), away, away, done)
  assert.equal(await handle(client).result(), 7)
})

// --- looking and acting -----------------------------------------------------------------

test('an execution is spelt as in JavaScript, and its payloads as they are', async () => {
  const wire = {
    ...execution('completed'),
    parent_id: 'p',
    history_length: 3,
    cancel_requested_at: '2026-01-01T00:00:00.000001Z',
    args: [{ snake_case: 1 }],
    state: { in_state: 2 },
  }
  const { parent_id, history_length, cancel_requested_at, ...others } = wire
  assert.deepEqual(await new ToldClient(wire).get(ID), {
    ...others,
    parentId: 'p',
    historyLength: 3,
    cancelRequestedAt: '2026-01-01T00:00:00.000001Z',
  })
})

test('a payload that JavaScript cannot hold is refused when it is read, and not before', async () => {
  const reply = loadReply(`{"id":"${ID}","status":"running","args":[1e999],"state":1}`)
  const found = await new ToldClient(reply).get(ID)
  assert.equal(found.state, 1)
  assert.throws(() => found.args, { name: 'PayloadError', path: 'args[0]' })
  await assert.rejects(new ToldClient(loadReply('{"state":[1e999]}')).getState(ID), {
    path: 'state[0]',
  })
})

test('the state of a workflow that has set none is null', async () => {
  assert.equal(await new ToldClient(execution('running')).getState(ID), null)
})

test('one bad verdict is an error of its class', async () => {
  const error = { code: 'execution_finished', message: 'it is over', retryable: false }
  const told = { results: [{ error }] }
  const client = new ToldClient(told, told)
  await assert.rejects(client.signal(ID, 'go'), /^ExecutionFinished: it is over/)
  await assert.rejects(client.retry(ID), ExecutionFinished)
})

test('a handle acts on its execution', async () => {
  const change = { status: 'cancelled', changed: true }
  const acted = { results: [{ ok: change }] }
  const client = new ToldClient(
    execution('running', { state: 'here' }),
    execution('running', { state: 'here' }),
    acted,
    acted,
    { results: [{ ok: { delivered: true } }] },
  )
  const held = handle<number>(client)
  assert.equal(await held.status(), 'running')
  assert.equal(await held.getState<string>(), 'here')
  assert.deepEqual(await held.cancel('why'), change)
  assert.deepEqual(await held.terminate(), change)
  assert.deepEqual(await held.signal('go', { n: 1 }, { key: 'k' }), { delivered: true })
  const signal = { id: ID, name: 'go', payload: { n: 1 }, idempotency_key: 'k' }
  assert.deepEqual(client.calls, [
    [Operation.GET_EXECUTION, { id: ID }],
    [Operation.GET_EXECUTION, { id: ID }],
    [Operation.CANCEL_EXECUTION, { items: [{ id: ID, reason: 'why' }] }],
    [Operation.TERMINATE_EXECUTION, { items: [{ id: ID }] }],
    [Operation.SEND_SIGNAL, { items: [signal] }],
  ])
})

test('retry and resume are asked for by their own operations', async () => {
  const acted = { results: [{ ok: { status: 'pending', changed: true } }] }
  const client = new ToldClient(acted, acted)
  await client.retry(ID)
  await client.resume(ID, 'mended')
  assert.deepEqual(client.calls, [
    [Operation.RETRY_EXECUTION, { items: [{ id: ID }] }],
    [Operation.RESUME_WORKFLOW, { items: [{ id: ID, reason: 'mended' }] }],
  ])
})

test('a signal that is not JSON is refused by its path', async () => {
  const client = new ToldClient()
  await assert.rejects(client.signal(ID, 'go', { a: new Set() }), { path: 'payload.a' })
  assert.deepEqual(client.calls, [])
})

test('a list asks for what was named only', async () => {
  const page = { executions: [execution('failed', { root_id: 'r' })], cursor: 'c' }
  const client = new ToldClient(page, page)
  const found = await client.list()
  assert.deepEqual([found.executions[0]?.rootId, found.cursor], ['r', 'c'])
  await client.list({ status: 'failed', parentId: ID, parked: true, limit: 5 })
  const asked = { status: ['failed'], parent_id: ID, parked: true, limit: 5 }
  assert.deepEqual(
    client.calls.map(([, request]) => request),
    [{}, asked],
  )
})

test('a history is read to its end', async () => {
  const pages = [[{ position: 1, payload: { a_b: 1 } }, { position: 2 }], [{ position: 3 }]]
  const client = new ToldClient(
    { run: 4, events: pages[0], more: true },
    { run: 4, events: pages[1] },
  )
  assert.deepEqual(await client.history(ID), pages.flat())
  assert.deepEqual(client.calls[1]?.[1], { id: ID, run: 4, after: 2 })
})

test('statistics are spelt as in JavaScript', async () => {
  const stats = { server_time: 't', queues: [{ queue: 'a', oldest_pending_ms: 5 }], workers: [] }
  assert.deepEqual(await new ToldClient(stats).stats(), {
    serverTime: 't',
    queues: [{ queue: 'a', oldestPendingMs: 5 }],
    workers: [],
  })
})

// --- which client -----------------------------------------------------------------------

test('the default client is chosen once, and a handle keeps the one that it asked', (t) => {
  const former = replaceDefault(new Client())
  t.after(() => replaceDefault(former))
  const held = new Handle(ID)
  const chosen = configure({ url: 'postgres:///app', schema: 's' })
  assert.equal(client(), chosen)
  assert.equal(held.client, chosen)
  configure({ url: 'postgres:///other' })
  assert.equal(held.client, chosen)
  assert.notEqual(client(), chosen)
})

test('a client that was never used is closed without an engine', async () => {
  const unused = new Client({ url: 'nowhere:' })
  await unused.close()
  await unused[Symbol.asyncDispose]()
})
