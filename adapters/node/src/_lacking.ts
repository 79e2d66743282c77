/** Functions that executions were put back for, because nobody has defined them here. */

import type { FunctionName } from './_operations'
import type { Registry } from './_registry'

/** How many a claim may name. */
export const MAX_LACKING = 1000

/** What a worker lacks: it claims no more of these, until they are defined. */
export class Lacking {
  readonly #functions = new Map<string, FunctionName>()

  /** Notes one. */
  add({ kind, name }: FunctionName): void {
    this.#functions.set(`${kind} ${name}`, { kind, name })
  }

  /** Answers those that are not here yet, the latest. */
  still(functions: Registry): FunctionName[] {
    if (this.#functions.size === 0) return []
    for (const [key, { kind, name }] of this.#functions) {
      if (functions.find(kind, name) !== undefined) this.#functions.delete(key)
    }
    return [...this.#functions.values()].slice(-MAX_LACKING)
  }
}

/** Answers the functions that take a slot for as long as their bodies run. */
export function bodiesOf(functions: Registry): FunctionName[] {
  const names = functions.names()
  return (['activity', 'job'] as const).flatMap((kind) =>
    (names[kind] ?? []).map((name) => ({ kind, name })),
  )
}
