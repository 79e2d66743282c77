import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Worker as Thread } from 'node:worker_threads'
import { Engine } from '../src/_engine'
import { storage } from '../src/_loop'
import { createExecution, getExecution, Operation, stats, waitExecution } from '../src/_operations'
import { NOBODY, scratch } from './hosts'

const URL = `embedded:${join(scratch(), 'database')}`
let engine: Engine

before(async () => {
  engine = Engine.shared(URL)
  await engine.call(Operation.MIGRATE, {})
})
after(async () => await engine.close())

async function unclaimed(): Promise<string> {
  const item = { kind: 'job', name: 'nobody_has_it', queue: 'nobody' } as const
  const { results } = await createExecution(engine, { items: [item] })
  return results[0]?.id as string
}

test('an engine connects at its first call and answers what is under ok', async () => {
  const other = Engine.shared(URL, { schema: 'elsewhere' })
  assert.equal(other.isOpen, false)
  assert.equal((await stats(engine, {})).schema, 'workflows')
  assert.equal(engine.isOpen, true)
  await other.close() // never connected
})

test('a fault is thrown as an error of its class', async () => {
  await assert.rejects(getExecution(engine, { id: NOBODY }), {
    name: 'ExecutionNotFound',
    code: 'execution_not_found',
    retryable: false,
  })
  const misspelt = engine.call(Operation.GET_EXECUTION, { di: NOBODY })
  await assert.rejects(misspelt, { name: 'InvalidRequest', message: /di/ })
})

test('many calls at once each get their own reply, more than one drain takes', async () => {
  const items = Array.from({ length: 500 }, (_, n) => {
    return { kind: 'job' as const, name: `job_${n}`, queue: 'nobody' }
  })
  const { results } = await createExecution(engine, { items })
  const found = await Promise.all(results.map(({ id }) => getExecution(engine, { id })))
  assert.deepEqual(
    found.map(({ name }) => name),
    items.map(({ name }) => name),
  )
})

test('a raw call gives the reply as it came, a fault too, among calls that are not raw', async () => {
  const [text, parsed, fault] = await Promise.all([
    engine.call(Operation.STATS, {}, { raw: true }),
    stats(engine, {}),
    engine.call(Operation.GET_EXECUTION, { id: NOBODY }, { raw: true }),
  ])
  assert.match(text, /^\{"ok":\{"schema":"workflows"/)
  assert.equal(JSON.parse(text).ok.schema_version, parsed.schema_version)
  assert.equal(JSON.parse(fault).error.code, 'execution_not_found')
})

test('text of every sort arrives in the database and comes back', async () => {
  const args = ['ä\u0000\u{1F600}\ud800', { '': [1e300, -0.5, null, true] }, 'x'.repeat(100_000)]
  const item = { kind: 'job', name: 'texts', queue: 'nobody', args } as const
  const { results } = await createExecution(engine, { items: [item] })
  const found = await getExecution(engine, { id: results[0]?.id as string })
  assert.deepEqual(found.args, args)
})

test('aborting a call rejects it with the reason, at once or before it is sent', async () => {
  const id = await unclaimed()
  const control = new AbortController()
  const waiting = waitExecution(engine, { id, wait_ms: 20_000 }, { signal: control.signal })
  setTimeout(() => control.abort(new Error('enough')), 50)
  await assert.rejects(waiting, { message: 'enough' })
  await assert.rejects(stats(engine, {}, { signal: control.signal }), { message: 'enough' })
  const late = new AbortController()
  const unsent = stats(engine, {}, { signal: late.signal })
  late.abort()
  await assert.rejects(unsent, { name: 'AbortError' })
})

test('one signal may stand behind many calls without a warning', async (t) => {
  const warnings: Error[] = []
  const listen = (warning: Error) => void warnings.push(warning)
  process.on('warning', listen)
  t.after(() => process.off('warning', listen))
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 50 }, () => stats(engine, {}, { signal })))
  await pause(1) // a warning comes on a later tick
  assert.deepEqual(warnings, [])
})

test('a claim that was aborted puts back what it had won', async () => {
  const { worker_id } = await engine.call(Operation.START_WORKER, { queues: ['put_back'] })
  const control = new AbortController()
  const claim = { worker_id, n: 10, wait_ms: 20_000 }
  const claiming = engine.call(Operation.CLAIM, claim, { signal: control.signal })
  const item = { kind: 'job', name: 'x', queue: 'put_back' } as const
  const { results } = await createExecution(engine, { items: [item] })
  const id = results[0]?.id as string
  control.abort()
  // The answer may be here already: then it is for the caller to put it back.
  const won = await claiming.catch(() => ({ executions: [] }))
  const items = won.executions.map((one: { id: string; lease: object }) => ({
    id: one.id,
    lease: one.lease,
    reason: 'drain',
  }))
  if (items.length > 0) await engine.call(Operation.RELEASE, { items })
  const again = await engine.call(Operation.CLAIM, claim)
  assert.deepEqual(
    again.executions.map((one: { id: string }) => one.id),
    [id],
  )
  await engine.call(Operation.STOP_WORKER, { worker_id })
})

test('engines are shared by configuration until they were closed as often as given', async () => {
  const first = Engine.shared(URL, { schema: 'shared', pool_size: 2 })
  const second = Engine.shared(URL, { pool_size: 2, schema: 'shared' })
  assert.equal(first, second)
  assert.notEqual(first, Engine.shared(URL, { schema: 'not_shared' }))
  await first.call(Operation.MIGRATE, {})
  await first.close()
  assert.equal((await stats(second, {})).schema, 'shared')
  await second.close()
  await second.close() // changes nothing
  await assert.rejects(stats(second, {}), { name: 'Closed' })
  const anew = Engine.shared(URL, { schema: 'shared', pool_size: 2 })
  assert.equal((await stats(anew, {})).schema, 'shared')
  await anew.close()
})

test('closing lets what is in flight complete within the grace, and rejects it after that', async () => {
  const id = await unclaimed()
  const other = Engine.shared(URL, { pool_size: 3 })
  await stats(other, {})
  const waiting = assert.rejects(waitExecution(other, { id, wait_ms: 20_000 }), { name: 'Closed' })
  const started = performance.now()
  await other.close(0.1)
  await waiting
  assert.ok(performance.now() - started < 5000)
})

test('an engine that is closed while it opens rejects its calls', async () => {
  const other = Engine.shared(URL, { pool_size: 4 })
  const calling = assert.rejects(stats(other, {}), { name: 'Closed' })
  await other.close()
  await calling
})

test('a call in workflow code is refused, and says what to do', async () => {
  const scope = { replay: { discarded: false, stepping: true } } as never
  await storage.run(scope, () =>
    assert.rejects(stats(engine, {}), { name: 'NotDurableError', message: /inside a workflow/ }),
  )
})

// --- what keeps it from connecting --------------------------------------------------------

const WRONG: readonly [string, string, string, RegExp][] = [
  ['a URL that is none', 'mysql://app', 'InvalidConfig', /./],
  [
    'a port where nobody listens',
    'postgres://u@127.0.0.1:1/x',
    'DatabaseUnavailable',
    /127\.0\.0\.1/,
  ],
  ['a schema name that cannot be', URL, 'InvalidConfig', /schema/],
]

for (const [what, url, name, message] of WRONG) {
  test(`${what} is a clear error, for each call that waits`, async () => {
    const other = Engine.shared(url, what.includes('schema') ? { schema: '\u0000' } : {})
    const calls = [stats(other, {}), stats(other, {})]
    for (const call of calls) await assert.rejects(call, { name, message })
    await other.close()
  })
}

test('a failure to connect is not remembered', async () => {
  const deaf: Server = createServer((socket) => socket.destroy())
  await new Promise<void>((done) => deaf.listen(0, '127.0.0.1', done))
  const { port } = deaf.address() as { port: number }
  const other = Engine.shared(`postgres://u@127.0.0.1:${port}/x?sslmode=disable`)
  await assert.rejects(stats(other, {}), { name: 'DatabaseUnavailable' })
  await assert.rejects(stats(other, {}), { name: 'DatabaseUnavailable' }) // and not Closed
  await other.close()
  deaf.close()
})

// --- threads ------------------------------------------------------------------------------

test('threads have engines of their own, and one that ends leaves the others open', async () => {
  const program = `
    const { workerData, parentPort } = require('node:worker_threads')
    require(workerData.tsx)
    const { Engine } = require(workerData.engine)
    const engine = Engine.shared(workerData.url)
    engine.call(24, {}).then(async (found) => {
      parentPort.postMessage(found.schema)
      if (workerData.close) await engine.close()
    })`
  const data = {
    url: URL,
    tsx: require.resolve('tsx/cjs'),
    engine: require.resolve('../src/_engine'),
  }
  const ends = [true, false].map((close) => thread(program, { ...data, close }))
  assert.deepEqual(await Promise.all(ends), [
    ['workflows', 0],
    ['workflows', 0],
  ])
  assert.equal((await stats(engine, {})).schema, 'workflows')
})

/** Answers what a thread said and how it exited. */
function thread(program: string, workerData: object): Promise<[string, number]> {
  const one = new Thread(program, { eval: true, workerData })
  let said = ''
  one.on('message', (message) => {
    said = message
  })
  return new Promise((done, fail) => {
    one.on('error', fail)
    one.on('exit', (code) => done([said, code]))
  })
}
