/** Asks, as an ES module, for what is not durable, in workflow code and elsewhere; tells on stdout. */

import { randomBytes, randomUUID } from 'node:crypto'
import { hrtime } from 'node:process'
import { setImmediate, setTimeout } from 'node:timers'
import { setTimeout as pause, scheduler } from 'node:timers/promises'
import functions from '../src/_functions.ts'
import guards from '../src/_guards.ts'
import replays from '../src/_replay.ts'

const uses = {
  randomUUID: () => randomUUID(),
  randomBytes: () => randomBytes(1),
  hrtime: () => hrtime(),
  'hrtime.bigint': () => hrtime.bigint(),
  setTimeout: () => setTimeout(() => {}, 1),
  setImmediate: () => setImmediate(() => {}),
  'setTimeout of promises': () => pause(1),
  'scheduler.wait': () => scheduler.wait(1),
}

function told(use) {
  try {
    use()
    return 'nothing'
  } catch (error) {
    return error.name
  }
}

guards.installGuards()
const inside = {}
const asking = functions.workflow('asking', async () => {
  for (const [name, use] of Object.entries(uses)) inside[name] = told(use)
})
const id = '018f0000-0000-7000-8000-000000000001'
const replay = new replays.Replay({ id, run: 1, name: 'asking' }, asking.definition)
await replay.feed([{ position: 1, type: 'started', at: '2026-01-01T00:00:00Z' }])
console.log(
  JSON.stringify(Object.entries(uses).map(([name, use]) => [name, inside[name], told(use)])),
)
