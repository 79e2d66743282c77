/** pg-boss: two workers that take 1,000 jobs each, without a pause while there are more. */

import { PgBoss } from 'pg-boss'
import * as bench from '../../node/contest.ts'

const boss = new PgBoss({
  connectionString: bench.URL,
  max: 20,
  schedule: false,
  useListenNotify: true,
})
boss.on('error', (error) => console.error(error))
await boss.start()
const picked = bench.event<number>()
let done = 0

async function rates(): Promise<void> {
  for (const name of ['single', 'batch']) await boss.createQueue(name)
  const jobs = Array.from({ length: bench.BATCH }, () => ({}))
  const batch = async () => {
    await boss.insert('batch', jobs)
    return bench.BATCH
  }
  await bench.rate('enqueue_single', bench.CALLERS, async () => {
    await boss.send('single', {})
    return 1
  })
  await bench.rate('enqueue_batch', bench.WRITERS, batch)
  if (!bench.wanted('drain')) return
  await bench.fill(100, batch)
  await boss.getDb().executeSql('ANALYZE') // without it: a thirtieth
  const options = { batchSize: 1000, localConcurrency: 2, burstWhenBatchFull: true }
  await bench.drain(
    () =>
      boss.work('batch', { ...options, pollingIntervalSeconds: 0.5 }, async (taken) => {
        done += taken.length
      }),
    () => done,
  )
  await boss.offWork('batch')
}

if (bench.WORKLOADS !== 'idle') await rates()
if (bench.wanted('pickup') || bench.wanted('idle')) {
  await boss.createQueue('pickup', { notify: true })
  await boss.work<{ sent: number }>('pickup', { pollingIntervalSeconds: 0.5 }, async ([job]) => {
    if (job) picked.happens(bench.now() - job.data.sent)
  })
  if (bench.WORKLOADS === 'idle') await bench.idle()
  await bench.latency('pickup', async () => {
    const next = picked.next()
    await boss.send('pickup', { sent: bench.now() })
    return next
  })
}
await boss.stop({ graceful: false })
process.exit(0)
