/** A worker in a process of its own: `stage_worker QUEUE...`. */

import './stage_functions'
import { setLogLevel } from '../src/_log'
import { Worker } from '../src/_worker'

setLogLevel('info')
new Worker({ queues: process.argv.slice(2) }).run().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
