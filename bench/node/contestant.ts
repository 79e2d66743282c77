/**
 * The Node adapter as a contestant.
 *
 * Client and worker share one process and one event loop, so that the client's cost is in the
 * figure, as it is with the peers. "Apart" the worker is this program again, as
 * `contestant.ts worker`.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { activity, all, configure, job, step, Worker, workflow } from 'libworkflows'
// What `npx workflows replay` does, without its command line.
import { check, stored } from '../../adapters/node/dist/_replay_command.js'
import * as bench from './contest.ts'

const IN_FLIGHT = 100
const SLOTS = 1000 // of the worker that drains, and of that for activities
const EVENTS = 10_000 // of the history that is replayed
const WINDOW = Number(process.env.BENCH_WINDOW ?? '60')
const client = configure({ url: bench.URL })

let done = 0
const picked = bench.event<number>()

const single = job({ name: 'single', queue: 'single' }, async () => {})
job({ name: 'batch', queue: 'batch' }, async () => {
  done++
})
const timed = job({ name: 'timed', queue: 'pickup' }, async (sent: number) => {
  const took = bench.now() - sent
  picked.happens(took)
  return took
})
const noop = workflow({ name: 'noop', queue: 'workflows' }, async () => {})
const one = step({ name: 'one' }, async () => 1)
const act = activity({ name: 'act', queue: 'activities' }, async () => 1)
const stepped = workflow({ name: 'stepped', queue: 'workflows' }, async () => {
  let total = 0
  for (let n = 0; n < bench.STEPS; n++) total += await one.run()
  return total
})
const sequential = workflow({ name: 'sequential', queue: 'workflows' }, async () => {
  let total = 0
  for (let n = 0; n < bench.STEPS; n++) total += await act.run()
  return total
})
const parallel = workflow({ name: 'parallel', queue: 'workflows' }, async () => {
  const results = await all(Array.from({ length: bench.STEPS }, () => act.run()))
  return results.length
})
const long = workflow({ name: 'long', queue: 'workflows' }, async () => {
  let total = 0
  while (total < EVENTS - 1) {
    const length = Math.min(100, EVENTS - 1 - total)
    total += (await all(Array.from({ length }, () => one.run()))).length
  }
  return total
})

// --- operations -------------------------------------------------------------------------

const worker = (queues: string[], concurrency: number): Promise<Worker> =>
  new Worker({ queues, concurrency }).start()

async function enqueueBatch(): Promise<number> {
  const jobs = Array.from({ length: bench.BATCH }, () => JOB)
  await client.create(jobs)
  return bench.BATCH
}
const JOB = { kind: 'job', name: 'batch', queue: 'batch' } as const

async function pickUpHere(): Promise<number> {
  const next = picked.next()
  await timed.queue(bench.now())
  return next
}

const pickUp = async (): Promise<number> => (await timed.queue(bench.now())).result()

async function runNoop(): Promise<number> {
  await noop.run()
  return 1
}

async function toResult(): Promise<number> {
  const started = bench.now()
  await noop.run()
  return bench.now() - started
}

// --- workloads --------------------------------------------------------------------------

async function jobs(): Promise<void> {
  await bench.rate('enqueue_single', bench.CALLERS, async () => {
    await single.queue()
    return 1
  })
  await bench.rate('enqueue_batch', bench.WRITERS, enqueueBatch)
  if (!bench.wanted('drain')) return
  await bench.fill(40, enqueueBatch)
  let drains: Worker | undefined
  await bench.drain(
    async () => {
      drains = await worker(['batch'], SLOTS)
    },
    () => done,
  )
  await drains?.close()
}

async function workflows(): Promise<void> {
  const small = await worker(['pickup', 'workflows'], IN_FLIGHT)
  await bench.rate('workflow_1', 1, runNoop)
  await bench.rate('workflow_100', IN_FLIGHT, runNoop)
  await bench.rate('steps_100', IN_FLIGHT, () => stepped.run())
  await bench.latency('pickup', pickUpHere)
  await bench.latency('result', toResult)
  await small.close()
  const large = await worker(['workflows', 'activities'], SLOTS)
  await bench.rate('workflow_1000', 10 * IN_FLIGHT, runNoop)
  await bench.rate('activities_100', IN_FLIGHT, () => sequential.run())
  await bench.rate('parallel_100', IN_FLIGHT, () => parallel.run())
  await replay()
  await large.close()
}

/** Replays one long history again and again. */
async function replay(): Promise<void> {
  if (!bench.wanted('replay')) return
  const handle = await long.queue()
  await handle.result()
  const which = { ids: [handle.id], statuses: [], names: [], limit: 1 }
  for await (const { execution, events } of stored(client, which)) {
    bench.emit({ begin: 'replay' })
    const started = bench.now()
    let count = 0
    while (bench.now() < started + bench.SECONDS) {
      const verdict = await check(execution, events, long.definition)
      if (verdict.verdict !== 'fits') throw new Error(verdict.message)
      count += verdict.events
    }
    const value = count / (bench.now() - started)
    bench.emit({ workload: 'replay', value, unit: '/s', operations: count })
  }
}

/** Keeps workflows in flight, and tells what came of it at the end of each window. */
async function sustained(): Promise<void> {
  let took: number[] = []
  const works = await worker(['workflows'], IN_FLIGHT)
  const began = bench.now()
  const repeat = async () => {
    while (bench.now() < began + bench.SECONDS) took.push(await toResult())
  }
  const tell = async () => {
    for (let n = 1; n * WINDOW <= bench.SECONDS + 0.001; n++) {
      await bench.sleep(began + n * WINDOW - bench.now())
      const latest = took
      took = []
      const [p50, p99] = bench.quantiles(latest)
      bench.print({ window: n, until: n * WINDOW, value: latest.length / WINDOW, p50, p99 })
    }
  }
  await Promise.all([tell(), ...Array.from({ length: IN_FLIGHT }, repeat)])
  await works.close()
}

async function idle(): Promise<void> {
  const idles = await worker(['pickup', 'workflows'], IN_FLIGHT)
  await pickUp()
  await bench.idle()
  await idles.close()
}

/** Has the worker in a process of its own. */
async function apart(): Promise<void> {
  if (!bench.wanted('pickup_apart') && !bench.wanted('result_apart')) return
  const arguments_ = [...process.execArgv, import.meta.filename, 'worker']
  const other = spawn(process.execPath, arguments_, { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(other.stdout, 'data')
  await bench.latency('pickup_apart', pickUp)
  await bench.latency('result_apart', toResult)
  other.stdin.end()
  await once(other, 'exit')
}

/** Is that worker until standard input ends. */
async function serve(): Promise<void> {
  const serves = await worker(['pickup', 'workflows'], IN_FLIGHT)
  process.stdout.write('ready\n')
  process.stdin.resume()
  await once(process.stdin, 'end')
  await serves.close()
}

async function main(): Promise<void> {
  await client.migrate()
  if (bench.WORKLOADS === 'idle') return idle()
  if (bench.WORKLOADS === 'sustained') return sustained()
  await jobs()
  await workflows()
  await apart()
}

await (process.argv[2] === 'worker' ? serve() : main())
await client.close()
