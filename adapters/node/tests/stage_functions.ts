/** What the workers of a stage run; each body writes into a journal outside of the database. */

import { appendFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { all } from '../src/_combinators'
import { activity, job, step, workflow } from '../src/_functions'
import { sleep, waitForSignal } from '../src/_workflow'

/** A line of the journal. */
export interface Entry {
  readonly what: string
  readonly worker: string
}

function journal(what: string): void {
  const entry: Entry = { what, worker: worker() }
  appendFileSync(join(directory(), 'journal'), `${JSON.stringify(entry)}\n`)
}

function directory(): string {
  return process.env.STAGE_DIRECTORY ?? '.'
}

function worker(): string {
  return process.env.STAGE_WORKER ?? 'here'
}

/** Waits until the test opens a gate. */
async function gate(name: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!existsSync(join(directory(), name))) {
    if (performance.now() > deadline) throw new Error(`the gate ${name} was never opened`)
    await pause(10)
  }
}

async function held(what: string): Promise<string> {
  journal(`${what} began`)
  await gate('open')
  journal(`${what} ended`)
  return worker()
}

export const marks = activity('stage.marks', async (n: number) => {
  journal(`marks ${n}`)
  return n
})

export const slow = activity('stage.slow', async () => await held('slow'))

export const slowStep = step('stage.slowStep', async () => await held('slow'))

export const slowJob = job({ name: 'stage.slowJob', queue: 'jobs' }, async () => await held('slow'))

export const quickJob = job('stage.quickJob', async () => worker())

/** Ends its process, in a way of one's choice. */
export const deadly = job(
  { name: 'stage.deadly', queue: 'jobs' },
  async (how: 'exit' | 'throw' | 'SIGKILL') => {
    journal('deadly began')
    if (how === 'exit') process.exit(1)
    if (how === 'SIGKILL') process.kill(process.pid, how)
    if (how === 'throw') setTimeout(() => raise(), 1)
    await gate('never')
  },
)

function raise(): never {
  throw new Error('thrown where nobody catches it')
}

export const callsSlow = workflow('stage.activity', async () => {
  const before = await marks.run(1)
  return [before, await slow.run(), await marks.run(2)]
})

export const stepsSlow = workflow('stage.step', async () => {
  const before = await marks.run(1)
  return [before, await slowStep.run(), await marks.run(2)]
})

export const many = workflow('stage.workflow', async () => {
  let total = 0
  for (let n = 1; n <= 20; n++) total += await marks.run(n)
  return [total, await waitForSignal('go'), 'done']
})

export const leaf = workflow('stage.leaf', async (n: number) => {
  await sleep(0.01)
  return n
})

export const everything = workflow('stage.everything', async (n: number) => {
  const [a, b, c] = await all([marks.run(n), leaf.run(n), quickStep.run(n), sleep(0.01)])
  return [a, b, c, await waitForSignal('go')]
})

export const quickStep = step('stage.quickStep', async (n: number) => 10 * n)
