/** DBOS Transact for TypeScript: a pool of 20, and a queue that looks every 10 ms. */

import { DBOS } from '@dbos-inc/dbos-sdk'
import * as bench from '../../node/contest.ts'

const IN_FLIGHT = 100
const POLL = 10

const picked = bench.event<number>()
const one = async () => 1
const step = () => DBOS.runStep(one, { name: 'one' })

const noop = DBOS.registerWorkflow(async () => 1, { name: 'noop' })
const stepped = DBOS.registerWorkflow(
  async () => {
    let total = 0
    for (let n = 0; n < bench.STEPS; n++) total += await step()
    return total
  },
  { name: 'stepped' },
)
const parallel = DBOS.registerWorkflow(
  async () => (await Promise.all(Array.from({ length: bench.STEPS }, step))).length,
  { name: 'parallel' },
)
const timed = DBOS.registerWorkflow(
  async (sent: number) => {
    picked.happens(bench.now() - sent)
  },
  { name: 'timed' },
)

DBOS.setConfig({
  name: 'bench',
  systemDatabaseUrl: bench.URL,
  systemDatabasePoolSize: 20,
  applicationVersion: '1',
  logLevel: 'error',
})
await DBOS.launch()
await DBOS.registerQueue('bench', { workerConcurrency: IN_FLIGHT, minPollingIntervalMs: POLL })

async function measure(): Promise<void> {
  await bench.rate('workflow_1', 1, noop)
  await bench.rate('workflow_100', IN_FLIGHT, noop)
  await bench.rate('workflow_1000', 10 * IN_FLIGHT, noop)
  await bench.rate('steps_100', IN_FLIGHT, stepped)
  await bench.rate('activities_100', IN_FLIGHT, stepped)
  await bench.rate('parallel_100', IN_FLIGHT, parallel)
  await bench.latency('pickup', async () => {
    const next = picked.next()
    await DBOS.startWorkflow(timed, { queueName: 'bench' })(bench.now())
    return next
  })
  await bench.latency('result', async () => {
    const started = bench.now()
    await noop()
    return bench.now() - started
  })
}

await (bench.WORKLOADS === 'idle' ? bench.idle() : measure())
await DBOS.shutdown()
process.exit(0)
