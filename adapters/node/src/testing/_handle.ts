/** Handles of executions in an environment. */

import {
  type Change,
  camelCased,
  type Event,
  type Execution,
  type Sent,
  type Status,
} from '../_camel'
import type { Fn } from '../_functions'
import { Handle, type WaitOptions } from '../_handles'
import { Operation } from '../_operations'
import { adapt, plain } from '../_payload'
import type { Duration } from '../_settings'
import { faultToException } from '../_wire_errors'
import type { Json, Row } from './_rows'
import type { Runner } from './_runner'
import type { Condition } from './_waiting'

const PAGE = 10_000

/** When something is done. Without either it is done now. */
export interface When {
  /** How long from now, in the environment's time. */
  readonly after?: Duration | undefined
  /** Asked whenever something has happened; with `after`, the time runs from then on. */
  readonly when?: Condition | undefined
}

/** How a signal is sent. */
export interface SignalWhen extends When {
  /** Delivers it once, however often it is sent with this key. */
  readonly key?: string | undefined
}

/**
 * An execution in an environment.
 *
 * It has what `Handle` has, answered at once where nothing has to run for it, and what a test
 * wants beside that.
 *
 * @example
 * ```ts
 * const handle = env.start(order, '4242')
 * handle.signal('approved', true, { after: '2h' })
 * assert.equal(await handle.result(), 'paid')
 * ```
 */
export class EnvironmentHandle<R = unknown> {
  /** The execution's. */
  readonly id: string
  /** False when an idempotency key led to an execution that was there. */
  readonly created: boolean
  readonly #runner: Runner

  /** @internal */
  constructor(runner: Runner, id: string, created = true) {
    this.id = id
    this.created = created
    this.#runner = runner
  }

  // --- how it ends ---

  /**
   * Runs until the execution has ended, and answers its result.
   *
   * @param options.timeout How long to wait, in the environment's time. Default: for ever.
   * @throws {ExecutionFailed} It failed; type, message and remoteStack are those of the code.
   * @throws {ExecutionCancelled} It was cancelled or terminated.
   * @throws {ResultTimeout} It did not end in time.
   * @throws {Stuck} Nothing can run and nothing is due; the message says what it waits for.
   * @throws {Endless} It does not come to an end.
   * @throws {NonDeterminismError} Its code did something else when it was replayed.
   */
  async result(options: WaitOptions = {}): Promise<R> {
    const { client } = this.#runner
    return await new Handle<R>(this.id, { created: this.created, client }).result(options)
  }

  // --- what is known of it ---

  get #row(): Row {
    return this.#runner.engine.find(this.id)
  }

  /** Answers where it stands: pending, running, suspended, completed, ... */
  status(): Status {
    return this.#row.status
  }

  /** Answers what the workflow's `setState` has published last, null if nothing yet. */
  getState<T = any>(): T | null {
    return adapt(structuredClone(this.#row.state) ?? null, 'state')
  }

  /** Answers the events of a workflow, by default those of the present run. */
  history(run = 0): Event[] {
    const events: Event[] = []
    for (;;) {
      const request = { id: this.id, run, after: events.length, limit: PAGE }
      const reply = this.#perform(Operation.GET_HISTORY, request)
      events.push(...camelCased<Event[]>(reply.events))
      if (!reply.more) return events
    }
  }

  /** Answers all that is known of it, as `Client.get` does. */
  execution(): Execution {
    return camelCased(this.#perform(Operation.GET_EXECUTION, { id: this.id }))
  }

  /** Which go it is: continuing as new and retrying begin the next one. */
  get run(): number {
    return this.#row.run
  }

  /** Says whether the workflow's code waits for this signal now. */
  async waitsFor(signal: string): Promise<boolean> {
    const row = this.#row
    return row.isWorkflow && (await this.#runner.waits.signals(row)).includes(signal)
  }

  /** Answers what the workflow has started: activities, jobs and workflows, in order. */
  children(): EnvironmentHandle[] {
    return this.#row.children.map((child) => new EnvironmentHandle(this.#runner, child.id))
  }

  /**
   * Answers what the workflow has started of one function.
   *
   * @param fn The function, or its name.
   * @param nth Which of them, from 1.
   * @throws {RangeError} It has not started so many.
   */
  child<S>(fn: Fn<any, S, any, any> | string, nth = 1): EnvironmentHandle<S> {
    const row = this.#row
    const name = typeof fn === 'string' ? fn : fn.functionName
    const found = row.children.filter((child) => child.name === name)
    const child = found[nth - 1]
    if (child === undefined)
      throw new RangeError(`${row.name} has started ${found.length} of ${name}`)
    return new EnvironmentHandle<S>(this.#runner, child.id)
  }

  // --- what is done to it ---

  /**
   * Sends a signal: now, after a time, or as soon as a condition holds.
   *
   * @param name Of the signal.
   * @param payload Any JSON value. Default null.
   * @returns What became of it, if it was sent now.
   * @throws {ExecutionFinished} The workflow has ended. When it was to be sent later, whoever
   *   waits then gets the error.
   * @throws {PayloadError} The payload is not JSON.
   *
   * @example
   * ```ts
   * handle.signal('approved', true, { when: () => handle.waitsFor('approved') })
   * ```
   */
  signal(
    name: string,
    payload: unknown,
    options: SignalWhen & { readonly after: Duration },
  ): undefined
  signal(
    name: string,
    payload: unknown,
    options: SignalWhen & { readonly when: Condition },
  ): undefined
  signal(name: string, payload?: unknown, options?: { readonly key?: string | undefined }): Sent
  signal(name: string, payload: unknown = null, options: SignalWhen = {}): Sent | undefined {
    const item: Json = { id: this.id, name, payload: plain(payload, 'payload') }
    if (options.key !== undefined) item.idempotency_key = options.key
    return this.#planned(Operation.SEND_SIGNAL, item, options)
  }

  /**
   * Asks it to stop: now, after a time, or as soon as a condition holds.
   *
   * @returns What came of it, if it was done now.
   */
  cancel(reason: string, options: When & { readonly after: Duration }): undefined
  cancel(reason: string, options: When & { readonly when: Condition }): undefined
  cancel(reason?: string): Change
  cancel(reason = '', options: When = {}): Change | undefined {
    return this.#planned(Operation.CANCEL_EXECUTION, { id: this.id, reason }, options)
  }

  /**
   * Ends it at once, without letting it clean up: now, after a time, or on a condition.
   *
   * @returns What came of it, if it was done now.
   */
  terminate(reason: string, options: When & { readonly after: Duration }): undefined
  terminate(reason: string, options: When & { readonly when: Condition }): undefined
  terminate(reason?: string): Change
  terminate(reason = '', options: When = {}): Change | undefined {
    return this.#planned(Operation.TERMINATE_EXECUTION, { id: this.id, reason }, options)
  }

  /** Runs it again after it failed or was cancelled; a workflow goes on from its history. */
  retry(): Change {
    return this.#act(Operation.RETRY_EXECUTION, { id: this.id })
  }

  /** Wakes a workflow that was parked because its code did not fit its history. */
  resume(): Change {
    return this.#act(Operation.RESUME_WORKFLOW, { id: this.id })
  }

  #planned(operation: Operation, item: Json, { after, when }: When): any {
    const { waiting } = this.#runner
    const now = () => this.#act(operation, item)
    const act = after === undefined ? now : () => waiting.after(after, now)
    if (when === undefined) return act()
    waiting.when(when, act)
    return undefined
  }

  #act(operation: Operation, item: Json): any {
    const { results } = this.#perform(operation, { items: [item] })
    if ('ok' in results[0]) return results[0].ok
    throw faultToException(results[0].error)
  }

  #perform(operation: Operation, request: object): any {
    return this.#runner.perform(operation, request)
  }

  toString(): string {
    const { kind, name, status } = this.#row
    return `<${kind} ${name} ${this.id}: ${status}>`
  }
}
