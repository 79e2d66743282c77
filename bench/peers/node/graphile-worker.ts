/** graphile-worker: jobs fetched 500 at a time, and completed in batches. */

import { makeWorkerUtils, run, type TaskList } from 'graphile-worker'
import * as bench from '../../node/contest.ts'

const CONCURRENT = 24
const FAST = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }

let done = 0
const picked = bench.event<number>()

const taskList: TaskList = {
  // With a parameter or without: what it does not wait for costs nothing.
  noop: async () => {
    done++
  },
  timed: async (payload) => picked.happens(bench.now() - (payload as { sent: number }).sent),
}

const work = (only: TaskList, batching: object) =>
  run({
    preset: {
      worker: {
        connectionString: bench.URL,
        concurrentJobs: CONCURRENT,
        maxPoolSize: CONCURRENT + 1,
        ...batching,
      },
    },
    logger: quiet,
    noHandleSignals: true,
    parsedCronItems: [],
    taskList: only,
  })

const { Logger } = await import('graphile-worker')
const quiet = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})
const utils = await makeWorkerUtils({
  connectionString: bench.URL,
  maxPoolSize: CONCURRENT,
  logger: quiet,
})

/** Leaves no jobs behind that a worker would have to look past. */
const empty = () =>
  utils.withPgClient((client) => client.query('TRUNCATE graphile_worker._private_jobs'))

async function rates(): Promise<void> {
  const jobs = Array.from({ length: bench.BATCH }, () => ({ identifier: 'noop', payload: {} }))
  const batch = async () => {
    await utils.addJobs(jobs)
    return bench.BATCH
  }
  await bench.rate('enqueue_single', bench.CALLERS, async () => {
    await utils.addJob('single', {})
    return 1
  })
  await empty()
  await bench.rate('enqueue_batch', bench.WRITERS, batch)
  if (!bench.wanted('drain')) return
  await bench.fill(150, batch)
  // Without, it reads the table by a plan from when it was empty, and is many times slower.
  await utils.withPgClient((client) => client.query('ANALYZE graphile_worker._private_jobs'))
  let runner: Awaited<ReturnType<typeof run>> | undefined
  await bench.drain(
    async () => {
      runner = await work({ noop: taskList.noop }, FAST)
    },
    () => done,
  )
  await runner?.stop()
  await empty()
}

await utils.migrate()
if (bench.WORKLOADS !== 'idle') await rates()
if (bench.wanted('pickup') || bench.wanted('idle')) {
  // A local queue would be one more stop on the way.
  const runner = await work({ timed: taskList.timed }, {})
  if (bench.WORKLOADS === 'idle') await bench.idle()
  await bench.latency('pickup', async () => {
    const next = picked.next()
    await utils.addJob('timed', { sent: bench.now() })
    return next
  })
  await runner.stop()
}
await utils.release()
