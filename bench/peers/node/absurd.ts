/** absurd: 32 tasks at a time, each with its claim, and a queue that is looked at every 10 ms. */

import { execFileSync } from 'node:child_process'
import { Absurd } from 'absurd-sdk'
import pg from 'pg'
import * as bench from '../../node/contest.ts'

const CONCURRENT = 32
const IN_FLIGHT = 100

execFileSync(`${process.env.BENCH_VENV}/bin/absurdctl`, ['init', '-d', bench.URL], {
  stdio: ['ignore', 'ignore', 'inherit'],
})
const pool = new pg.Pool({ connectionString: bench.URL, max: CONCURRENT })
const absurd = new Absurd({ db: pool, queueName: 'bench' })
await absurd.createQueue('bench')

// Told at the end of a body: a client would have to poll for the result.
const ended = new Map<number, () => void>()
const picked = bench.event<number>()
let started = 0

interface Told {
  id: number
}

absurd.registerTask<Told>({ name: 'noop' }, async ({ id }) => {
  ended.get(id)?.()
})
absurd.registerTask<Told>({ name: 'stepped' }, async ({ id }, task) => {
  for (let n = 0; n < bench.STEPS; n++) await task.step(`one-${n}`, async () => 1)
  ended.get(id)?.()
})
absurd.registerTask<Told>({ name: 'parallel' }, async ({ id }, task) => {
  const names = Array.from({ length: bench.STEPS }, (_, n) => `one-${n}`)
  await Promise.all(names.map((name) => task.step(name, async () => 1)))
  ended.get(id)?.()
})
absurd.registerTask<{ sent: number }>({ name: 'timed' }, async ({ sent }) => {
  picked.happens(bench.now() - sent)
})

const execute = (name: string, worth: number) => async () => {
  const id = started++
  const end = new Promise<void>((resolve) => ended.set(id, resolve))
  await absurd.spawn(name, { id })
  await end
  ended.delete(id)
  return worth
}

async function measure(): Promise<void> {
  await bench.rate('workflow_1', 1, execute('noop', 1))
  await bench.rate('workflow_100', IN_FLIGHT, execute('noop', 1))
  await bench.rate('workflow_1000', 10 * IN_FLIGHT, execute('noop', 1))
  await bench.rate('steps_100', IN_FLIGHT, execute('stepped', bench.STEPS))
  await bench.rate('activities_100', IN_FLIGHT, execute('stepped', bench.STEPS))
  await bench.rate('parallel_100', IN_FLIGHT, execute('parallel', bench.STEPS))
  await bench.latency('pickup', async () => {
    const next = picked.next()
    await absurd.spawn('timed', { sent: bench.now() })
    return next
  })
  await bench.latency('result', async () => {
    const began = bench.now()
    const { taskID } = await absurd.spawn('noop', { id: -1 })
    await absurd.awaitTaskResult(taskID)
    return bench.now() - began
  })
}

const worker = await absurd.startWorker({ concurrency: CONCURRENT, pollInterval: 0.01 })
await (bench.WORKLOADS === 'idle' ? bench.idle() : measure())
await worker.close()
await pool.end()
process.exit(0)
