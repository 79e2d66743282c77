/**
 * What workflow code calls: time, chance, waits, signals, versions, state.
 *
 * Each of these is the same on every replay. Outside workflows the clock and the random numbers
 * are the ordinary ones, so that a workflow function can be called directly in a unit test; what
 * needs a history refuses.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Sent } from './_camel'
import {
  ExecutionFinished,
  ExecutionNotFound,
  InvalidPayload,
  InvalidRequest,
  InvalidState,
  NotDurableError,
  PayloadTooLarge,
} from './_errors'
import { DurableFunction, home } from './_functions'
import type { SignalOptions } from './_handles'
import { MAX_HISTORY } from './_history'
import { active, refuseInside } from './_loop'
import type { Claimed } from './_operations'
import type { Replay } from './_replay'
import { type Duration, milliseconds } from './_settings'

const MAX_NAME_BYTES = 255

/** The workflow that the code belongs to. */
export interface WorkflowInfo {
  readonly id: string
  readonly run: number
  readonly name: string
  readonly queue: string
  readonly parentId: string | undefined
  readonly rootId: string
  /** How many events its history has, of those that the code has seen. */
  readonly historyLength: number
  /** Whether the history is so long that `continueAsNew` is in place: a fifth of what is allowed. */
  readonly continueAsNewSuggested: boolean
}

/**
 * Answers which workflow this is.
 *
 * `run`, `historyLength` and `continueAsNewSuggested` are for deciding when to continue as new. A
 * retry copies the history into a further run, and a limit can be lowered by whoever runs the
 * worker: let nothing else hang on them.
 *
 * @throws NotDurableError - called outside a workflow.
 */
export function workflowInfo(): WorkflowInfo {
  const { claimed, history } = inside('workflowInfo()')
  return {
    id: claimed.id,
    run: claimed.run,
    name: claimed.name,
    queue: claimed.queue,
    parentId: claimed.parent_id,
    rootId: claimed.root_id,
    historyLength: history.length,
    continueAsNewSuggested: history.length * 5 >= longest(claimed),
  }
}

/**
 * Answers the workflow's time.
 *
 * It is the time of the latest event that the code has seen, so it is the same on every replay,
 * and stands still while the code runs.
 */
export function now(): Date {
  return active()?.history.now() ?? new Date()
}

/** Answers a random uuid that is the same on every replay. Two calls differ. */
export function uuid4(): string {
  return active()?.history.uuid4() ?? randomUUID()
}

/** Answers a number from 0 up to 1, the same on every replay. Two calls differ. */
export function random(): number {
  return active()?.history.random() ?? Math.random()
}

/**
 * Says whether recorded history is still ahead of the code.
 *
 * Use it to log once. It is false from the first command on that history does not have. Never
 * decide by it what to do: that could not be replayed.
 *
 * @example
 * if (!isReplaying()) console.log(`order $\{order\} paid`)
 */
export function isReplaying(): boolean {
  return active()?.isReplaying() ?? false
}

/**
 * Answers by which version of a change this workflow goes, one for all its life.
 *
 * A workflow that has passed this point already, with code that did not have the call, goes by
 * `min`: it has asked for something since, or waits there or further on. A new one goes by `max`,
 * which is recorded. When no workflow goes by `min` any more, raise it; the call may be removed
 * when only one version is left.
 *
 * @param change - names the change; the same name gives the same version everywhere in a workflow.
 * @param min - the oldest version that this code still has.
 * @param max - the newest.
 * @throws VersionError - the workflow recorded a version that this code no longer has.
 *
 * @example
 * if (getVersion('charge-tax', 1, 2) >= 2) await tax.run(order)
 */
export function getVersion(change: string, min: number, max: number): number {
  checkName('change', change)
  if (!Number.isInteger(min) || !Number.isInteger(max)) {
    throw new TypeError(`getVersion('${change}'): versions are whole numbers`)
  }
  if (min > max) {
    throw new RangeError(
      `getVersion('${change}'): min is ${min} and max is ${max}; the oldest version comes first`,
    )
  }
  return active()?.asked.getVersion(change, min, max) ?? max
}

/**
 * Sleeps durably: no worker is held, and a restart does not start it anew.
 *
 * 0 and negative durations end at once and are recorded.
 *
 * @param duration - in seconds or as "5m".
 *
 * @example
 * await sleep('24h')
 */
export function sleep(duration: Duration): Promise<void> {
  const delayMs = Math.max(0, milliseconds(duration, { name: 'sleep', negative: true }))
  return active()?.sleep(delayMs) ?? setTimeout(delayMs)
}

/**
 * Waits for the next signal of a name and answers its payload.
 *
 * Signals are buffered from the start and taken in the order in which they came, each by one wait,
 * in the order in which the waits were called.
 *
 * @param name - of the signal.
 * @param options.timeout - how long to wait, durably, in seconds or as "5m". Default: for ever.
 * @throws SignalTimeout - none came in time. One that comes later is kept for the next wait.
 * @throws PayloadError - the payload holds a number that JavaScript cannot.
 *
 * @example
 * const approval = await waitForSignal<Approval>('approved', \{ timeout: '24h' \})
 */
export function waitForSignal<T = any>(
  name: string,
  options: { readonly timeout?: Duration | undefined } = {},
): Promise<T> {
  checkName('name', name)
  const { timeout } = options
  const delayMs =
    timeout === undefined
      ? undefined
      : Math.max(0, milliseconds(timeout, { name: 'timeout', negative: true }))
  return inside('waitForSignal()').waitForSignal(name, delayMs)
}

/**
 * Sends a signal to a workflow.
 *
 * Inside a workflow it is a step with a key of its own, so that the signal is delivered once
 * however often the workflow is replayed.
 *
 * @param id - of the workflow.
 * @param name - of the signal, 1 to 255 bytes.
 * @param payload - any JSON value.
 * @param options.key - delivers it once, however often it is sent with this key.
 * @throws ExecutionNotFound - outside a workflow, no execution has this id.
 * @throws ExecutionFinished - outside a workflow, it is over.
 * @throws StepError - inside a workflow, with one of these as its type.
 */
export function sendSignal(
  id: string,
  name: string,
  payload: unknown = null,
  options: SignalOptions = {},
): Promise<Sent> {
  checkName('name', name)
  const replay = active()
  return replay === undefined
    ? home().signal(id, name, payload, options)
    : replay.sendSignal(id, name, payload, options.key)
}

/**
 * Ends this run of the workflow, and goes on as a new one: the same id, an empty history.
 *
 * For workflows that go on for long: a history is replayed as a whole, and may have 50,000 events.
 * `workflowInfo().continueAsNewSuggested` says when.
 *
 * Signals that no wait has taken go over into the new run, in their order, and so do those that
 * come meanwhile; so does what `setState` published. Timers of this run end, and its children as
 * at the end of a workflow, by their close policy. Whoever waits for the result gets that of the
 * last run. The deadline stays. A workflow that was asked to stop does not go on.
 *
 * The run ends at the call: the promise never settles, so no `catch` keeps it and no `finally`
 * runs. Await or return it; what code does after it, without waiting, counts for nothing.
 *
 * @param args - of the workflow's function, for the new run.
 * @throws PayloadError - one of them is not JSON.
 * @throws NotDurableError - called outside a workflow.
 *
 * @example
 * if (workflowInfo().continueAsNewSuggested) return await continueAsNew(cart)
 */
export function continueAsNew(...args: readonly unknown[]): Promise<never> {
  return inside('continueAsNew()').continueAsNew(args)
}

/**
 * Answers what a workflow published last with `setState`, null if nothing yet.
 *
 * For code outside of workflows, activities and steps included.
 *
 * @param id - of the workflow.
 * @throws ExecutionNotFound - no execution has this id.
 * @throws NotDurableError - called in the code of a workflow: the answer would not be recorded.
 *
 * @example
 * const progress = await getState<Progress>(orderId)
 */
export async function getState<T = unknown>(id: string): Promise<T | null> {
  refuseInside('getState()', 'a signal from that workflow, or ask in a step')
  return await home().getState<T>(id)
}

/**
 * Publishes a JSON value as the workflow's state, for whoever looks at the execution.
 *
 * @throws PayloadError - the value is not JSON.
 * @throws NotDurableError - called outside a workflow.
 */
export function setState(value: unknown): void {
  inside('setState()').asked.setState(value)
}

// What the engine has decided about a signal; sending it again would change nothing.
const REFUSALS = [
  ExecutionFinished,
  ExecutionNotFound,
  InvalidPayload,
  InvalidRequest,
  InvalidState,
  PayloadTooLarge,
]

/** The step that sends a signal from inside a workflow. */
export const signalStep = new DurableFunction({
  kind: 'step',
  plain: async (id: string, name: string, payload: unknown, key: string) => ({
    ...(await home().signal(id, name, payload, { key })),
  }),
  options: { name: 'workflows.send_signal', nonRetryable: REFUSALS },
  place: __filename,
  isTopLevel: true,
  isExternal: false,
})

/** How many events a history may have, as the worker was told. */
function longest(claimed: Claimed & { readonly max_history?: number }): number {
  return claimed.max_history ?? MAX_HISTORY
}

function inside(what: string): Replay {
  const replay = active()
  if (replay !== undefined) return replay
  throw new NotDurableError(
    `${what} only works in the code of a workflow, which a worker or libworkflows/testing runs`,
  )
}

function checkName(what: string, name: unknown): void {
  if (typeof name !== 'string') throw new TypeError(`${what} must be a string, not ${String(name)}`)
  const bytes = Buffer.byteLength(name)
  if (bytes < 1 || bytes > MAX_NAME_BYTES) {
    throw new RangeError(
      `${what} must have 1 to ${MAX_NAME_BYTES} bytes, not '${name.slice(0, 40)}'`,
    )
  }
}
