/** A worker whose code leaves a rejected promise behind: `rejecting_worker WHERE`. */

import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { cancelled } from '../src/_attempts'
import { setLogger } from '../src/_log'
import { sleep } from '../src/_workflow'
import { Rig, until } from './rig'

async function main(where: string): Promise<void> {
  const rig = new Rig({ after() {} } as unknown as TestContext)
  let warned = 0
  const warn = (line: string) => {
    warned += 1
    console.log(`warned: ${line}`)
  }
  setLogger({ ...console, warn, info: () => {} })
  const fails = rig.activity(
    'fails',
    async () => {
      throw new RangeError('left by an activity')
    },
    { retries: 0 },
  )
  const w = rig.workflow('w', async () => {
    void Promise.reject(new RangeError('left at once'))
    const branch = async () => {
      await sleep(1)
      throw new RangeError('left later')
    }
    void branch()
    void fails.run().then(() => 'never')
    await sleep(5)
    return 'done'
  })
  const tries: number[] = []
  const leaves = async () => {
    if (tries.push(1) > 1) return 'done'
    void Promise.reject(new RangeError('left by a body'))
    await until(cancelled)
    return 'too late'
  }
  const job = rig.job('leaves', leaves, { initial: 0.001 })
  const step = rig.step('leavesStep', leaves, { initial: 0.001 })
  const calls = rig.workflow('calls', async () => await step.run())
  const over = rig.job('over', async () => {
    setTimeout(() => void Promise.reject(new RangeError('left behind')), 20)
    return 'done'
  })
  const waits = rig.job('waits', async () => await pause(100, 'done'))
  if (where === 'listener') {
    process.on('unhandledRejection', (error: Error) => console.log(`mine: ${error.message}`))
  }
  const what = { workflow: w, body: job, step: calls, over }[where] ?? waits
  await rig.start()
  if (what === waits) {
    void Promise.reject(where === 'value' ? 'a word' : new RangeError('left by nobody'))
  }
  const row = await rig.run(what)
  console.log(row.status, row.result)
  if (what === over) await until(() => warned > 0)
  for (const worker of rig.workers) await worker.close()
  console.log(`listeners: ${process.listenerCount('unhandledRejection')}`)
}

void main(process.argv[2] ?? '')
