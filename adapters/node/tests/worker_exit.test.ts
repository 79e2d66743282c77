/** How the process of a worker ends that is told to, or that is ended by what it runs. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Worker as Thread } from 'node:worker_threads'
import { Client } from '../src/_client'
import { job } from '../src/_functions'
import { scratch, start } from './hosts'
import { Stage, temporary } from './stage'
import { deadly, quickJob, slowJob } from './stage_functions'

const URL = `embedded:${temporary()}`
// Keeps the server running from one test to the next.
const keeper = new Client({ url: URL, schema: 'keeper' })
before(async () => void (await keeper.migrate()))
after(async () => await keeper.close())

/** Starts the command line's worker for a database that is not there. */
function lonely(url: string) {
  const module = join(scratch(), 'functions.js')
  writeFileSync(module, '')
  const args = ['src/_cli.ts', 'worker', '-m', module, '--database-url', url]
  return start(['--import', 'tsx', ...args])
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} ends the command line’s worker that has no database`, async () => {
    const child = lonely('postgres://nobody@127.0.0.1:1/none')
    child.stderr?.on('data', (text) => {
      if (String(text).includes('is tried again')) child.kill(signal)
    })
    const { status, stderr } = await child.ended
    assert.equal(status, 1, stderr)
    assert.match(stderr, /^error: /m, 'it says what kept it')
    assert.doesNotMatch(stderr, /Abort|^ +at /m, 'and no more')
  })
}

test('SIGTERM ends the command line’s worker whose database does not answer', async (t) => {
  const silent = createServer()
  t.after(() => silent.close())
  await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done))
  const { port } = silent.address() as { port: number }
  const child = lonely(`postgres://u@127.0.0.1:${port}/x?sslmode=disable`)
  await new Promise((done) => silent.once('connection', done))
  const since = performance.now()
  child.kill('SIGTERM')
  const { status, signal, stderr } = await child.ended
  assert.deepEqual([status, signal], [0, null], stderr)
  assert.ok(performance.now() - since < 2000)
})

// T10: in Node.
for (const how of ['exit', 'throw', 'SIGKILL'] as const) {
  test(`a body that ends its process is parked after three crashes: ${how}`, async (t) => {
    const stage = new Stage(t, URL)
    const handle = await deadly.options({ retries: 0 }).queue(how)
    for (let n = 1; n <= 3; n++) {
      const worker = stage.spawn(`w${n}`, {}, ['jobs'])
      await worker.ended
      assert.equal(stage.count('deadly began'), n, worker.output)
    }
    stage.spawn('last', {}, ['jobs'])
    const beside = await quickJob.options({ queue: 'jobs' }).queue()
    await stage.until(async () => (await handle.status()) === 'failed', 'the end')
    const { error, crashes } = await stage.client.get(handle.id)
    assert.match(JSON.stringify(error), /worker/)
    assert.equal(crashes, 3)
    assert.equal(stage.count('deadly began'), 3)
    assert.equal(await beside.result({ timeout: 20 }), 'last', 'others run')
  })
}

// `terminate()` runs nothing in the thread: what it has left is the library's to find.
for (const how of ['waits', 'blocks its event loop']) {
  test(`a thread that is terminated while a body ${how} puts back what it holds`, async (t) => {
    const stage = new Stage(t, URL)
    const program = `
      const { workerData, parentPort } = require('node:worker_threads')
      require(workerData.tsx)
      const { job, Worker } = require(workerData.adapter)
      job('held', async () => {
        parentPort.postMessage('began')
        if (workerData.blocks) for (;;);
        await new Promise((resolve) => setTimeout(resolve, 60_000))
      })
      const { url, schema } = workerData
      void new Worker({ queues: ['jobs'], url, schema }).start()`
    const { url, schema } = stage
    const tsx = require.resolve('tsx/cjs')
    const adapter = require.resolve('../src')
    const workerData = { tsx, adapter, url, schema, blocks: how !== 'waits' }
    const thread = new Thread(program, { eval: true, workerData })
    const handle = await job.external<() => void>({ name: 'held', queue: 'jobs' }).queue()
    const [said] = await once(thread, 'message')
    assert.equal(said, 'began')
    await thread.terminate()
    await stage.until(async () => (await handle.status()) === 'pending', 'it to be put back')
    const { failures = 0, releases } = await stage.client.get(handle.id)
    assert.deepEqual([failures, releases], [0, 1])
  })
}

test('an idle worker whose process ends leaves no dead worker behind', async (t) => {
  const stage = new Stage(t, URL)
  const worker = stage.spawn('idle', { STAGE_EXIT: 'idle' }, ['jobs'])
  assert.equal(await worker.ended, 3, worker.output)
  const { workers } = await stage.client.stats()
  assert.deepEqual(
    workers.map(({ status }) => status),
    ['stopped'],
  )
})

test('a draining worker whose process ends puts back what it holds', async (t) => {
  const stage = new Stage(t, URL)
  const worker = stage.spawn('draining', { STAGE_EXIT: 'draining' }, ['jobs'])
  const handle = await slowJob.queue()
  await stage.until(() => stage.count('slow began') === 1, 'the body to begin')
  worker.kill('SIGTERM')
  assert.equal(await worker.ended, 3, worker.output)
  const { status, crashes = 0, failures = 0 } = await stage.client.get(handle.id)
  assert.deepEqual([status, crashes, failures], ['pending', 0, 0])
})
