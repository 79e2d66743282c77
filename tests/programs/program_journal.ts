/** The journal of bodies in TypeScript; tests/crash/crash_journal.py is its twin, which says more. */

import { openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type * as Loop from '../../adapters/node/src/_loop'

// Workflow code has no clock, and says all the same when it waits for the harness.
const home = dirname(require.resolve('libworkflows'))
const { outside } = require(join(home, '_loop.js')) as typeof Loop

const { CRASH_STAGE, CRASH_WORKER } = process.env

/** Whether there is somebody to read it: nobody does in a replay. */
export const isRead = CRASH_STAGE !== undefined

let file: number | undefined

/** Writes down an event, in one write to a file that is only appended to. */
export function note(event: string, what: string, more: object): void {
  file ??= openSync(join(CRASH_STAGE ?? '.', 'journal'), 'a')
  const at = Number(outside(() => process.hrtime.bigint())) / 1e9
  const entry = { event, what, at, worker: CRASH_WORKER, lang: 'node', ...more }
  writeSync(file, `${JSON.stringify(entry)}\n`)
}
