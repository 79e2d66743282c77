/**
 * A worker in a process of its own: `stage_worker QUEUE...`.
 *
 * The process ends by itself as soon as the worker serves its queues where STAGE_EXIT is `idle`,
 * and as soon as it drains where that is `draining`.
 */

import './stage_functions'
import { setLogger, setLogLevel } from '../src/_log'
import { Worker } from '../src/_worker'

setLogLevel('info')
const worker = new Worker({ queues: process.argv.slice(2) })
worker.run().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})

const { STAGE_EXIT: end } = process.env
if (end !== undefined) {
  const info = (line: string) => {
    if (line.includes(end === 'idle' ? 'serves' : 'is stopping')) process.exit(3)
  }
  setLogger({ debug() {}, info, warn: console.log, error: console.log })
}
