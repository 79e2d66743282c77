/** The client, the library and a real PostgreSQL together. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import type { NewExecution } from '../src/_camel'
import { Client } from '../src/_client'
import { Engine } from '../src/_engine'
import {
  Closed,
  DatabaseUnavailable,
  ExecutionFinished,
  ExecutionNotFound,
  InvalidConfig,
  InvalidRequest,
  PayloadTooLarge,
  SchemaMissing,
} from '../src/_errors'
import { job } from '../src/_functions'
import { Handle } from '../src/_handles'
import { type Claimed, Operation } from '../src/_operations'
import { ExecutionCancelled, ExecutionFailed, ResultTimeout } from '../src/_outcomes'
import { exceptionToError } from '../src/_wire_errors'
import { withClient } from './trial'

const directory = mkdtempSync(join(tmpdir(), 'workflows-'))
const url = `embedded:${directory}`
const client = new Client({ url })

before(() => client.migrate())
after(async () => {
  await client.close()
  rmSync(directory, { recursive: true, force: true })
})

/** A queue that no other test uses. */
function newQueue(): string {
  return `queue-${randomUUID()}`
}

/** A worker that claims one execution and ends it as it is told. */
async function claimOne(queue: string): Promise<Claimed> {
  const { engine } = client
  const { worker_id } = await engine.call(Operation.START_WORKER, {
    queues: [queue],
    language: 'node',
  })
  const request = { worker_id, n: 1, wait_ms: 30_000 }
  const [claimed] = (await engine.call(Operation.CLAIM, request)).executions
  return claimed
}

const corpus: unknown[] = [
  null,
  true,
  0,
  2 ** 53,
  -(2 ** 60),
  1e21,
  0.1 + 0.2,
  5e-324,
  Number.MAX_VALUE,
  '',
  '\0',
  '\\u0000',
  'a\ud800b',
  '😀\u2028\u2029\ufeff',
  'e\u0301\u202e<>&\'"/\\\b\f\n\r\t\x7f',
  [],
  {},
  JSON.parse('{"":null,"__proto__":1,"\\u0000":2,"\\ud800":3}'),
  { z: 1, a: [[[{ deep: [null] }]]] },
  'x'.repeat(500_000),
]

test('payloads come back as they went in', async () => {
  const queue = newQueue()
  const created = await client.create(
    corpus.map((value): NewExecution => ({ kind: 'job', name: 'n', queue, args: [value] })),
  )
  const found = await Promise.all(created.map(({ id }) => client.get(id)))
  for (const [index, value] of corpus.entries()) {
    assert.deepEqual(found[index]?.args, [value])
    assert.equal(JSON.stringify(found[index]?.args), JSON.stringify([value]))
  }
})

test('128 levels go through, whatever is around them', async () => {
  let value: unknown = 'deep'
  for (let level = 0; level < 128; level++) value = [value]
  const [created] = await client.create([
    { kind: 'job', name: 'n', queue: newQueue(), args: [value] },
  ])
  assert.deepEqual((await client.get(created?.id ?? '')).args, [value])
})

test('what is too large is a typed error and leaves nothing', async () => {
  const queue = newQueue()
  const item: NewExecution = { kind: 'job', name: 'n', queue, args: ['x'.repeat(2_000_000)] }
  await assert.rejects(client.create([item]), PayloadTooLarge)
  assert.deepEqual((await client.list({ queue })).executions, [])
})

test('faults are typed', async () => {
  const nobody = randomUUID()
  for (const asked of [
    () => client.get(nobody),
    () => client.wait(nobody, { timeout: 5 }),
    () => client.cancel(nobody),
    () => client.signal(nobody, 'go'),
  ]) {
    await assert.rejects(asked(), (error) => {
      assert(error instanceof ExecutionNotFound)
      return error.message.includes(nobody)
    })
  }
  await assert.rejects(client.get('not an id'), InvalidRequest)
  const misspelt = { kind: 'job', name: 'n', misspelt: 1 } as NewExecution
  await assert.rejects(client.create([misspelt]), InvalidRequest)
})

test('an execution from its start to its end', async () => {
  const queue = newQueue()
  const item: NewExecution = { kind: 'workflow', name: 'n', queue, idempotencyKey: queue }
  const [first] = await client.create([item])
  const [second] = await client.create([item])
  assert.deepEqual(second, { id: first?.id, created: false })
  const handle = new Handle<number>(first?.id ?? '', { client })
  assert.equal(await handle.status(), 'pending')
  const sent = () => handle.signal('go', { n: 1 }, { key: 'k' })
  assert.deepEqual([await sent(), await sent()], [{ delivered: true }, { delivered: false }])
  const last = (await client.history(handle.id)).at(-1)
  assert.deepEqual([last?.type, last?.payload], ['signal_received', { n: 1 }])
  await assert.rejects(handle.result({ timeout: 0.05 }), ResultTimeout)
  const waiting = assert.rejects(handle.result({ timeout: 30 }), ExecutionCancelled)
  assert.equal((await handle.cancel('why')).changed, true)
  await waiting
  assert.equal((await handle.cancel()).changed, false)
  await assert.rejects(handle.signal('go'), ExecutionFinished)
})

test('a function is run on a worker, and its result or its failure comes back', async () => {
  const queue = newQueue()
  const add = job({ name: 'add', queue, retries: 0 }, (a: number, b: number) => a + b)
  const running = withClient(client, () => add.run(1, 2))
  const claimed = await claimOne(queue)
  assert.deepEqual(claimed.args, [1, 2])
  const { id, lease } = claimed
  const done = { items: [{ id, lease, result: add(1, 2) }] }
  await client.engine.call(Operation.COMPLETE_EXECUTION, done)
  assert.equal(await running, 3)

  const handle = await withClient(client, () => add.queue(1, 2))
  const other = await claimOne(queue)
  const error = exceptionToError(new RangeError('too far', { cause: new TypeError('no') }))
  const failed = { items: [{ id: other.id, lease: other.lease, error }] }
  await client.engine.call(Operation.FAIL_EXECUTION, failed)
  await assert.rejects(handle.result({ timeout: 30 }), (raised) => {
    assert(raised instanceof ExecutionFailed)
    assert.deepEqual([raised.type, raised.message], ['RangeError', 'too far'])
    assert.equal(raised.cause?.cause?.type, 'TypeError')
    return raised.remoteStack === error.stack
  })
  assert.equal((await client.retry(handle.id)).changed, true)
  assert.equal((await client.terminate(handle.id)).status, 'cancelled')
})

// Only newer versions can write what JavaScript cannot hold, as a worker in Python may.
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown }
const skip = rawJSON === undefined && 'JSON.rawJSON came with Node 21'

test('a result of Python that cannot be held is refused, and the rest read', { skip }, async () => {
  const queue = newQueue()
  const [first, second] = [
    { kind: 'job', name: 'n', queue },
    { kind: 'job', name: 'm', queue },
  ]
  await client.create([first, second] as NewExecution[])
  const [big, exact] = [await claimOne(queue), await claimOne(queue)]
  const results = ['9007199254740993', '9007199254740992']
  const items = [big, exact].map(({ id, lease }, index) => {
    return { id, lease, result: { n: [rawJSON?.(results[index] as string)] } }
  })
  await client.engine.call(Operation.COMPLETE_EXECUTION, { items })
  const refused = new Handle(big.id, { client }).result()
  await assert.rejects(refused, { name: 'PayloadError', path: 'result.n[0]' })
  assert.deepEqual(await new Handle(exact.id, { client }).result(), { n: [2 ** 53] })
  const { executions } = await client.list({ queue })
  assert.deepEqual(executions.map(({ name, status }) => [name, status]).sort(), [
    ['m', 'completed'],
    ['n', 'completed'],
  ])
})

test('a list goes on behind its cursor', async () => {
  const queue = newQueue()
  const items = Array.from({ length: 25 }, (): NewExecution => ({ kind: 'job', name: 'n', queue }))
  const created = (await client.create(items)).map(({ id }) => id)
  const found: string[] = []
  let cursor: string | undefined
  do {
    const page = await client.list({ queue, limit: 10, cursor })
    found.push(...page.executions.map(({ id }) => id))
    cursor = page.cursor
  } while (cursor !== undefined)
  assert.deepEqual(found.sort(), created.sort())
})

test('hundreds of calls in flight answer each its own', async () => {
  const queue = newQueue()
  const names = Array.from({ length: 500 }, (_, n) => `n${n}`)
  const created = await client.create(
    names.map((name): NewExecution => ({ kind: 'job', name, queue })),
  )
  const found = await Promise.all(created.map(({ id }) => client.get(id)))
  assert.deepEqual(
    found.map(({ name }) => name),
    names,
  )
})

test('an aborted wait leaves the channel usable', async () => {
  const [created] = await client.create([{ kind: 'job', name: 'n', queue: newQueue() }])
  const id = created?.id ?? ''
  for (let round = 0; round < 20; round++) {
    const stop = new AbortController()
    const waits = Array.from({ length: 5 }, () => client.wait(id, { signal: stop.signal }))
    await client.get(id)
    stop.abort(new Error('enough'))
    for (const wait of waits) await assert.rejects(wait, /enough/)
  }
  assert.equal((await client.get(id)).status, 'pending')
})

test('closing a client ends what waits on it', async () => {
  const [created] = await client.create([{ kind: 'job', name: 'n', queue: newQueue() }])
  const other = new Client({ url, poolSize: 3 })
  assert.notEqual(other.engine, client.engine)
  const waiting = assert.rejects(other.wait(created?.id ?? ''), Closed)
  await other.stats()
  await other.close(0.2)
  await waiting
  assert.equal((await other.stats()).schema, 'workflows', 'it connects anew')
  await other.close()
})

test('clients of one database share an engine until the last has closed', async () => {
  const [one, two] = [new Client({ url }), new Client({ url })]
  assert.equal(one.engine, two.engine)
  assert.equal(one.engine, client.engine)
  await one.close()
  assert.equal((await two.stats()).schema, 'workflows')
  await two.close()
  assert.equal((await client.stats()).schema, 'workflows')
})

test('migrating again changes nothing', async () => {
  const { from, version, latest } = await client.migrate()
  assert.equal(from, version)
  assert.equal(version, latest)
})

test('migrating makes roles of the names that are asked for', async () => {
  const other = new Client({ url, schema: 'with_roles', migrate: false })
  const roles = `r${randomUUID().slice(0, 8)}`
  const { version } = await other.migrate({ roles })
  await assert.rejects(other.migrate({ roles: roles + 'x'.repeat(60) }), /roles/)
  assert.equal((await other.migrate({ roles })).from, version)
  await other.close()
})

test('a schema that was never migrated is named', async () => {
  const other = new Client({ url, schema: 'not_there', migrate: false })
  await assert.rejects(other.stats(), (error) => {
    assert(error instanceof SchemaMissing)
    return error.message.includes('not_there')
  })
  await other.close()
})

for (const [nowhere, type] of [
  ['postgres://u:s3cret@127.0.0.1:1/x', DatabaseUnavailable],
  ['postgres://u:s3cret@host:port/x', InvalidConfig],
  ['s3cret', InvalidConfig],
  ['s3cret://\0\ud800', InvalidConfig],
] as const) {
  test(`${JSON.stringify(nowhere)} is a typed error without the password`, async () => {
    const other = new Client({ url: nowhere })
    await assert.rejects(other.get(randomUUID()), (error) => {
      assert(error instanceof type)
      assert(!inspect(error).includes('s3cret'))
      return error.message.includes('URL')
    })
    await other.close()
  })
}

test('an engine that was closed is shared no more', async () => {
  const engine = Engine.shared(url, { pool_size: 4 })
  await engine.close()
  await assert.rejects(engine.call(Operation.STATS, {}), Closed)
  const next = Engine.shared(url, { pool_size: 4 })
  assert.notEqual(next, engine)
  await next.close()
})
