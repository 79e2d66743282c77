/** The functions that have been defined, by kind and name. */

import type { Durable, DurableFunction } from './_functions'

/**
 * The functions that a worker can run, by kind and name.
 *
 * There is one for the process, which definitions fill as their modules are loaded. A name is
 * used once per kind: else it would be a matter of the order of imports which function runs.
 */
export class Registry {
  // By kind, then by name.
  readonly #functions = new Map<string, Map<string, DurableFunction>>()

  /** Answers a registry of these functions alone. */
  static of(functions: Iterable<Durable>): Registry {
    const registry = new Registry()
    for (const { definition } of functions) registry.add(definition)
    return registry
  }

  /**
   * Registers a function.
   *
   * @throws {RangeError} Another function has this kind and name.
   */
  add(fn: DurableFunction): void {
    const known = this.find(fn.kind, fn.functionName)
    if (known !== undefined && known !== fn && !isReloaded(known, fn)) {
      throw new RangeError(
        `two functions are registered as ${fn.kind} '${fn.functionName}': ${known.place} and ${fn.place};` +
          ' give one of them another name, because executions find their code by it',
      )
    }
    const named = this.#functions.get(fn.kind) ?? new Map<string, DurableFunction>()
    this.#functions.set(fn.kind, named.set(fn.functionName, fn))
  }

  /** Answers the function of this kind and name, if there is one. */
  find(kind: string, name: string): DurableFunction | undefined {
    return this.#functions.get(kind)?.get(name)
  }

  /** Answers the names of the functions that a queue can hold, by kind. */
  names(): Record<string, string[]> {
    const found: Record<string, string[]> = {}
    for (const [kind, functions] of this.#functions) {
      if (kind !== 'step') found[kind] = [...functions.keys()].sort()
    }
    return found
  }

  /** How many there are. */
  get size(): number {
    let size = 0
    for (const functions of this.#functions.values()) size += functions.size
    return size
  }
}

/** The registry that definitions fill. */
export const registry = new Registry()

/** The same definition again: a module that was loaded twice, as by a development server. */
function isReloaded(known: DurableFunction, fn: DurableFunction): boolean {
  return known.isTopLevel && fn.isTopLevel && known.place === fn.place
}
