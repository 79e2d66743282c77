/** A worker of programs in TypeScript; program_worker.py is its twin, which says more. */

import { dirname, join } from 'node:path'
import { Worker } from 'libworkflows'
import type * as Log from '../../adapters/node/src/_log'
import './program_functions' // registers what it runs

const home = dirname(require.resolve('libworkflows'))
const { setLogLevel } = require(join(home, '_log.js')) as typeof Log

setLogLevel('info')
const [warm, concurrency] = process.argv.slice(2).map(Number)
new Worker({ queues: ['node'], warm, concurrency }).run().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
