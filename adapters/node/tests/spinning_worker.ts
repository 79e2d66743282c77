/** A worker whose workflow never lets go of the thread (`workflow`), or whose process does. */

import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { watch } from '../src/_watchdog'
import { sleep } from '../src/_workflow'
import { Rig } from './rig'

async function main(where: string): Promise<void> {
  watch(250)
  process.on('SIGTERM', () => process.exit(0)) // as a worker has one
  const rig = new Rig({ after() {} } as unknown as TestContext)
  const spins = rig.workflow('spins', async () => {
    await sleep(1)
    if (where === 'workflow') for (;;) await null
    return 'done'
  })
  const row = await rig.run(spins)
  const until = performance.now() + 1000
  while (performance.now() < until) {}
  await pause(10)
  console.log(row.status)
  for (const worker of rig.workers) await worker.close()
}

void main(process.argv[2] ?? '')
