/** Replaying a history that was stored, such as one of production, over the code of today. */

import { snakeCased } from '../_camel'
import type { Fn } from '../_functions'
import { argumentsOf } from '../_replay_command'
import { replayed } from './_proof'
import type { Json } from './_rows'

const NOBODY = '00000000-0000-7000-8000-000000000000'
const ABOUT = { id: NOBODY, root_id: NOBODY, run: 1, kind: 'workflow', queue: 'default' }

/** What workflow code does next, after a history. */
export interface Next {
  /** "suspend" (it waits), "keep" (it runs steps), "complete", "fail" or "continue". */
  readonly then: string
  /** What it asks for and history does not have, as it goes over the wire. */
  readonly commands: readonly Json[]
  /** The names of the steps that it runs. */
  readonly steps: readonly string[]
  /** The names of the signals that it waits for. */
  readonly signals: readonly string[]
  /** With then="complete". */
  readonly result: any
  /** With then="fail", as it goes over the wire. */
  readonly error: Json | undefined
  /** With then="continue", the arguments of the next run. */
  readonly args: readonly any[]
}

/** What is not in the history. */
export interface StoredOptions<A extends readonly unknown[] = any[]> {
  /** What the run was started with. Default: what the history says. */
  readonly args?: A
  /**
   * The execution's. Default: what the history says. Random numbers and uuids follow from it:
   * with another one they are others.
   */
  readonly id?: string
}

/**
 * Replays a stored history over the code of today.
 *
 * `workflows replay` does this for many at once.
 *
 * @param history What `workflows history ID --json` prints: as JSON, or what it says. Or events
 *   alone, such as `handle.history()`.
 * @param fn The workflow.
 * @param options What is not in the history.
 * @returns What the code does next.
 * @throws {NonDeterminismError} The code does not fit the history. The message is that of
 *   production.
 * @throws {PayloadError} An argument is not JSON.
 *
 * @example
 * ```ts
 * await replayHistory(await readFile('histories/order.json', 'utf8'), order)
 * ```
 */
export async function replayHistory<A extends unknown[]>(
  history: string | object,
  fn: Fn<A, any, any, any>,
  options: StoredOptions<A> = {},
): Promise<Next> {
  const { definition } = fn
  const { told, events } = read(history)
  const claimed: Json = { ...ABOUT, ...told, ...argumentsOf(told as any, events as any) }
  claimed.name = definition.functionName
  if (options.id !== undefined) Object.assign(claimed, { id: options.id, root_id: options.id })
  if (options.args !== undefined) {
    Object.assign(claimed, { args: definition.arguments(options.args), kwargs: {} })
  }
  return await replayed(claimed, definition, events, (replay) => {
    const { then, commands, steps, result, error, nextRun } = replay.turn()
    if (replay.history.fault !== undefined) throw replay.history.fault
    return {
      then,
      commands: commands as unknown as Json[],
      steps: steps.map(({ call }) => call.name),
      signals: replay.signals.names,
      result,
      error: error as Json | undefined,
      args: nextRun?.args ?? [],
    }
  })
}

/**
 * Checks that the code of today fits a stored history; see `replayHistory`.
 *
 * @throws {NonDeterminismError} It does not.
 *
 * @example
 * ```ts
 * await expectDeterministic(order, JSON.parse(stored))
 * ```
 */
export async function expectDeterministic<A extends unknown[]>(
  fn: Fn<A, any, any, any>,
  history: string | object,
  options: StoredOptions<A> = {},
): Promise<void> {
  await replayHistory(history, fn, options)
}

/** Answers what a history says of its execution, and its events. */
function read(history: string | object): { told: Json; events: Json[] } {
  const told: any = typeof history === 'string' ? JSON.parse(history) : history
  if (Array.isArray(told)) return { told: {}, events: told }
  if (!Array.isArray(told?.events)) {
    throw new TypeError('a history has events, as `workflows history ID --json` prints them')
  }
  const execution: Json = snakeCased(told.execution ?? {})
  if (told.run !== undefined) execution.run = told.run
  return { told: execution, events: told.events }
}
