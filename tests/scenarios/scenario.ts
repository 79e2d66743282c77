/** What the scenarios in TypeScript share; scenario.py tells what the queues are. */

import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { attemptInfo, CancelledError, cancelled, NotDurableError, workflowInfo } from 'libworkflows'

const OTHER: Readonly<Record<string, string>> = {
  python: 'python',
  node: 'node',
  'python-node': 'node-python',
  'node-python': 'python-node',
}

/** Answers the function as the other language has it. */
export function other<F extends { options(options: { queue: string }): F }>(fn: F): F {
  return fn.options({ queue: OTHER[workflowInfo().queue] ?? '' })
}

// --- what the code and the test tell each other -----------------------------------------------

/**
 * Notes in a body that something was done, and answers how often it was by now.
 *
 * The test finds all notes, in their order.
 */
export function note(word: string): number {
  const place = placeOfTest()
  mkdirSync(place, { recursive: true })
  const notes = join(place, 'notes')
  appendFileSync(notes, `${word}\n`)
  return readFileSync(notes, 'utf8')
    .split('\n')
    .filter((each) => each === word).length
}

/** Waits in a body until the test opens the gate of this name. */
export async function gate(name: string): Promise<void> {
  const path = join(placeOfTest(), `${name} is open`)
  while (!existsSync(path)) {
    if (cancelled()) throw new CancelledError('') // as a task in Python ends
    await setTimeout(10)
  }
}

/** Says, in workflow code too, whether the test has deployed this release of the code by now. */
export function deployed(release: string): boolean {
  return existsSync(join(placeOfTest(), `${release} is deployed`))
}

/** Where the test and all that came of one workflow meet. */
function placeOfTest(): string {
  return join(process.env.SCENARIO_NOTES ?? '.', rootId())
}

function rootId(): string {
  try {
    return workflowInfo().rootId
  } catch (error) {
    if (!(error instanceof NotDurableError)) throw error
    return attemptInfo().rootId
  }
}
