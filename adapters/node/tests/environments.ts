/** Environments for tests, with functions of the test's own. */

import { callable, DurableFunction, type Fn } from '../src/_functions'
import type { BodyOptions, Kind, Options, StepOptions, WorkflowOptions } from '../src/_options'
import { Registry } from '../src/_registry'
import {
  type EnvironmentOptions,
  type WorkflowEnvironment,
  withEnvironment,
} from '../src/testing/index'

export const HOUR = 3600
export const DAY = 86_400

/** Defines a function by name. */
type Define<O> = <A extends unknown[], T>(
  name: string,
  body: (...args: A) => T,
  options?: O,
) => Fn<A, Awaited<T>, O, T>

/** Functions of one test. */
export class Own {
  readonly functions = new Registry()
  readonly job = this.#defining<BodyOptions>('job')
  readonly activity = this.#defining<BodyOptions>('activity')
  readonly step = this.#defining<StepOptions>('step')
  readonly workflow = this.#defining<WorkflowOptions>('workflow')

  #defining<O extends object>(kind: Kind): Define<O> {
    return (name, plain, options) => {
      const definition = new DurableFunction({
        kind,
        plain,
        options: { ...(options as Options), name },
        place: name,
        isTopLevel: false,
        isExternal: false,
      })
      this.functions.add(definition)
      return callable(definition) as any
    }
  }
}

/** What a test of an environment has. */
export interface Given extends Own {
  readonly env: WorkflowEnvironment
}

/** Answers a test that has an environment, and functions of its own. */
export function inEnvironment(
  test: (given: Given) => Promise<void>,
  options: EnvironmentOptions = {},
): () => Promise<void> {
  return async () => {
    const own = new Own()
    await withEnvironment({ functions: own.functions, ...options }, (env) =>
      test(Object.assign(own, { env })),
    )
  }
}
