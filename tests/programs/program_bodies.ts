/** The bodies of activities and steps, and how they are called: a part of program_functions.py's twin. */

import { setTimeout } from 'node:timers/promises'
import {
  abortSignal,
  activity,
  attemptInfo,
  CancelledError,
  client,
  heartbeat,
  lastHeartbeat,
  step,
} from 'libworkflows'
import { note } from './program_journal'

/** A part of a program; program_generator.py says what is in it. */
export interface Node {
  readonly do: string
  readonly n: number
  readonly [field: string]: any
}

export const ENDLESS = 3600

export class ProgramError extends Error {}

class Refused extends Error {}

function label(node: Node): string {
  return `${node.do[0]}${node.n}`
}

const tries = new Map<string, number>()

function begin(node: Node): [id: string, attempt: number] {
  const { id, attempt } = attemptInfo()
  let number = attempt
  if (node.do === 'step') {
    const key = `${id} ${node.n}`
    number = (tries.get(key) ?? 0) + 1
    tries.set(key, number)
  }
  note('began', label(node), { id, attempt: number, now: Date.now() / 1000 })
  return [id, number]
}

function end(node: Node, id: string, number: number): string {
  const name = label(node)
  note('ended', name, { id, attempt: number, now: Date.now() / 1000 })
  if (node.how === 'fails' || (node.how === 'flaky' && number <= node.times)) {
    throw new ProgramError(name)
  }
  if (node.how === 'refuses') throw new Refused(name)
  return name
}

async function deed(node: Node): Promise<string> {
  const [id, number] = begin(node)
  switch (node.how) {
    case 'slow':
      await pause(node.ms / 1000)
      break
    case 'beats':
      await beat(node)
      break
    case 'stuck':
    case 'endless':
      await pause(ENDLESS)
      break
    case 'gone':
      await client().cancel(id)
      await pause(ENDLESS)
      break
    case 'sends':
      for (let index = 0; index < node.count; index++) {
        const payload = `${node.signal}.${index}`
        await client().signal(node.to, `signal ${node.signal}`, payload, { key: payload })
      }
  }
  return end(node, id, number)
}

/** Nothing interrupts a body here: one that is to stop has to hear of it. */
async function pause(seconds: number): Promise<void> {
  try {
    await setTimeout(seconds * 1000, undefined, { signal: abortSignal() })
  } catch {
    throw new CancelledError('') // as a task in Python ends
  }
}

async function beat(node: Node): Promise<void> {
  let { done } = lastHeartbeat<{ done: number }>() ?? { done: 0 }
  while (done < 4) {
    await pause(node.ms / 4000)
    done += 1
    heartbeat({ done })
  }
}

const quick = (name: string) => ({ name, initial: 0.02, max: 0.1, nonRetryable: [Refused] })

export const inLoop = activity(quick('program.activity'), deed)
// Only Python has bodies in threads.
const inThread = activity.external<(node: Node) => string>({
  ...quick('program.thread'),
  queue: 'python',
})
const stepInLoop = step(quick('program.step'), deed)

/** Calls what a node asks for, with its options. */
export function call(node: Node): Promise<string> {
  if (node.do === 'step') {
    return (node.how === 'fails' ? stepInLoop.options({ retries: node.times }) : stepInLoop).run(
      node,
    )
  }
  if (node.how === 'thread') return inThread.run(node)
  const there = inLoop.options({ queue: node.lang })
  if (node.how === 'stuck') return there.options({ timeout: 0.15, retries: node.times }).run(node)
  return (node.how === 'fails' ? there.options({ retries: node.times }) : there).run(node)
}
