/** What keeps executions from going on, other than that they wait. */

import { NonDeterminismError } from '../_errors'
import type { Functions } from './_doubles'
import type { MemoryEngine } from './_engine'
import { Endless, Stuck } from './_errors'
import { replayed } from './_proof'
import type { Json, Row } from './_rows'

interface Trouble {
  readonly row: Row
  readonly error: Error
  readonly isStill: () => boolean
}

/** Finds out which executions cannot go on, and why. */
export class Troubles {
  readonly #engine: MemoryEngine
  readonly #functions: Functions
  readonly #maxRuns: number
  #known: Trouble[] = []

  constructor(engine: MemoryEngine, functions: Functions, maxRuns: number) {
    this.#engine = engine
    this.#functions = functions
    this.#maxRuns = maxRuns
    engine.onEvent.add((row, event) => this.#happened(row, event))
  }

  /** Answers why an execution, or what it belongs to, cannot go on. */
  async of(row: Row): Promise<Error | undefined> {
    await this.#take()
    this.#known = this.#known.filter(({ isStill }) => isStill())
    return this.#known.find((trouble) => trouble.row.root === row.root)?.error
  }

  /** Answers why nothing comes to rest. */
  endless(): Error | undefined {
    return this.#known.find(({ error, row }) => error instanceof Endless && row.isOpen)?.error
  }

  #happened(row: Row, event: Json): void {
    if (event.type !== 'continued' || row.run < this.#maxRuns) return
    const error = new Endless(
      `workflow '${row.name}' has continued as new ${row.run} times: end it, as with ` +
        'handle.cancel(reason, { after }), or allow more with maxRuns',
    )
    this.#known.push({ row, error, isStill: () => row.isOpen })
  }

  /** Looks at what was put back since the last time. */
  async #take(): Promise<void> {
    for (const row of this.#engine.putBack.splice(0)) {
      if (row.parked !== undefined) {
        const error = await this.#fault(row)
        this.#known.push({ row, error, isStill: () => row.parked !== undefined })
      } else if (row.released === 'no_function') {
        const isStill = () => row.released === 'no_function' && row.isOpen
        this.#known.push({ row, error: new Stuck(this.#putBack(row)), isStill })
      }
    }
  }

  /** Answers what the replay found, with all that it knows. */
  async #fault(row: Row): Promise<Error> {
    const parked = new NonDeterminismError(row.parked ?? '')
    const fn = this.#functions.find('workflow', row.name)
    const claimed = row.claims.get(row.run)
    if (fn === undefined || claimed === undefined) return parked
    return await replayed(claimed, fn, row.events, (replay) => {
      replay.turn()
      return replay.history.fault ?? parked
    })
  }

  #putBack({ kind, name }: Row): string {
    if (this.#functions.find(kind, name) !== undefined) {
      return `${kind} '${name}' failed inside the adapter; the log says how`
    }
    return (
      `there is no ${kind} '${name}' here: import its module, or, if it lives elsewhere, replace ` +
      `it, as in env.replace('${name}', { returns: ... })`
    )
  }
}
