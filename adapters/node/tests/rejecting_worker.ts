/** A worker whose code leaves a rejected promise behind: `rejecting_worker WHERE`. */

import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { setLogger } from '../src/_log'
import { sleep } from '../src/_workflow'
import { Rig } from './rig'

async function main(where: string): Promise<void> {
  const rig = new Rig({ after() {} } as unknown as TestContext)
  setLogger({ ...console, warn: (line) => console.log(`warned: ${line}`), info: () => {} })
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
  const leaves = rig.job('leaves', async () => {
    void Promise.reject(where === 'value' ? 'a word' : new RangeError('left by a body'))
    await pause(50)
    return 'done'
  })
  if (where === 'listener') {
    process.on('unhandledRejection', (error: Error) => console.log(`mine: ${error.message}`))
  }
  const row = await rig.run(where === 'workflow' ? w : leaves)
  console.log(row.status, row.result)
  for (const worker of rig.workers) await worker.close()
  console.log(`listeners: ${process.listenerCount('unhandledRejection')}`)
}

void main(process.argv[2] ?? '')
