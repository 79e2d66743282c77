/**
 * A program that keeps a thousand operations in flight, and prints what that did to its event
 * loop, a line of JSON a try, until a try was good.
 *
 * It is no test itself: `node:test` hooks into every promise, which costs the loop more than the
 * library does.
 */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Engine } from '../src/_engine'
import { Library } from '../src/_library'
import { createExecution, getExecution } from '../src/_operations'

/** The p99, in ms, of the loop's delay and of the calls that it makes. */
export interface Busy {
  readonly loop: number
  readonly submit: number
  readonly drain: number
  /** Whether the loop had a core whenever it wanted one. */
  readonly first: boolean
}

const [, , url = '', tries = '', most = ''] = process.argv

async function main(): Promise<void> {
  const first = goFirst()
  const engine = Engine.shared(url)
  await busy(engine, 1) // so that what is measured is compiled
  for (let left = Number(tries); left > 0; left--) {
    const tried = await busy(engine, 5)
    process.stdout.write(`${JSON.stringify({ ...tried, first })}\n`)
    if (Math.max(...Object.values(tried)) < Number(most)) break
  }
  await engine.close()
}

/**
 * Has the loop's thread, and no other, go before whatever else wants a core: what is left of the
 * delay is the loop's own. Answers whether it may, which takes a privilege.
 */
function goFirst(): boolean {
  try {
    execFileSync('chrt', ['--reset-on-fork', '--rr', '--pid', '10', `${process.pid}`], {
      stdio: 'ignore',
    })
    return true
  } catch {
    return false
  }
}

/** Keeps a thousand creates and gets in flight. */
async function busy(engine: Engine, rounds: number): Promise<Omit<Busy, 'first'>> {
  const held = monitorEventLoopDelay({ resolution: 1 })
  const [submits, drains] = [timed('submit'), timed('drain')]
  const ids = new Set<string>()
  const one = async () => {
    for (let round = 0; round < rounds; round++) {
      const item = { kind: 'job', name: 'job', queue: 'nobody' } as const
      const { results } = await createExecution(engine, { items: [item] })
      ids.add((await getExecution(engine, { id: results[0]?.id as string })).id)
    }
  }
  held.enable()
  await Promise.all(Array.from({ length: 1000 }, one))
  held.disable()
  assert.equal(ids.size, 1000 * rounds)
  return { loop: held.percentile(99) / 1e6, submit: submits(), drain: drains() }
}

/** Times each call of a method of the library, until the p99 is asked for. */
function timed(name: 'submit' | 'drain'): () => number {
  const library = Library.get()
  const call = library[name] as (...args: unknown[]) => unknown
  const took: number[] = []
  const watched = (...args: unknown[]): unknown => {
    const started = performance.now()
    const answer = call.apply(library, args)
    took.push(performance.now() - started)
    return answer
  }
  Object.assign(library, { [name]: watched })
  return () => {
    Object.assign(library, { [name]: call })
    took.sort((a, b) => a - b)
    return took[Math.floor(took.length * 0.99)] as number
  }
}

void main()
