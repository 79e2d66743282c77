/** Handles: an execution that somebody holds on to. */

import type { Change, Execution, Sent, Status } from './_camel'
import { type Client, client as defaultClient } from './_client'
import { ExecutionCancelled, ExecutionFailed } from './_outcomes'
import { adapt } from './_payload'
import type { Duration } from './_settings'

/** How to wait. */
export interface WaitOptions {
  /** How long, in seconds or as "5m". Default: for ever. */
  readonly timeout?: Duration | undefined
  /** Ends the wait with its reason when it is aborted; the execution goes on. */
  readonly signal?: AbortSignal | undefined
}

/** What may be said about a signal beside its name and payload. */
export interface SignalOptions {
  /** Delivers it once, however often it is sent to the same workflow. */
  readonly key?: string | undefined
}

/**
 * An execution, to ask for its result, its status, or its end.
 *
 * It holds nothing but the id: make one with `new Handle(id)` for an execution that was queued
 * elsewhere.
 *
 * @example
 * ```ts
 * const handle = await order.queue('4242')
 * await handle.result({ timeout: '5m' })
 * ```
 */
export class Handle<R = unknown> {
  /** The execution's. */
  readonly id: string
  /** False when an idempotency key led to an execution that was there. */
  readonly created: boolean
  #client: Client | undefined

  /**
   * @param id The execution's.
   * @param options `client` is through which to ask, by default `client()`.
   */
  constructor(id: string, options: { readonly created?: boolean; readonly client?: Client } = {}) {
    this.id = id
    this.created = options.created ?? true
    this.#client = options.client
  }

  /** The client through which it asks. */
  get client(): Client {
    this.#client ??= defaultClient()
    return this.#client
  }

  /**
   * Waits for the end and answers the result.
   *
   * @param options.timeout How long to wait. Default: for ever.
   * @param options.signal Ends the wait, not the execution.
   * @throws {ResultTimeout} It did not end in time. It goes on unharmed; ask again.
   * @throws {ExecutionFailed} It failed; type, message and remoteStack are the remote ones.
   * @throws {ExecutionCancelled} It was cancelled or terminated.
   * @throws {ExecutionNotFound} No execution has this id.
   * @throws {PayloadError} The result holds a number that JavaScript cannot.
   */
  async result(options: WaitOptions = {}): Promise<R> {
    return outcomeOf(await this.client.wait(this.id, options)) as R
  }

  /**
   * Answers where it stands: pending, running, completed, ...
   *
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async status(): Promise<Status> {
    return (await this.client.get(this.id)).status
  }

  /**
   * Answers what the workflow published last with `setState`, null if nothing yet.
   *
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async getState<T = unknown>(): Promise<T | null> {
    return await this.client.getState<T>(this.id)
  }

  /** Asks it to stop; see `Client.cancel`. */
  async cancel(reason = ''): Promise<Change> {
    return await this.client.cancel(this.id, reason)
  }

  /** Ends it at once, without letting it clean up. */
  async terminate(reason = ''): Promise<Change> {
    return await this.client.terminate(this.id, reason)
  }

  /** Sends it a signal; see `Client.signal`. */
  async signal(name: string, payload: unknown = null, options: SignalOptions = {}): Promise<Sent> {
    return await this.client.signal(this.id, name, payload, options)
  }
}

/** Answers the result of an execution that has ended, or throws how else it ended. */
export function outcomeOf(
  execution: Pick<Execution, 'id' | 'status' | 'result' | 'error'>,
): unknown {
  if (execution.status === 'completed') return adapt(execution.result, 'result')
  if (execution.status === 'failed') throw ExecutionFailed.of(execution.error, execution.id)
  const reason = messageOf(execution.error) || 'it was cancelled'
  throw new ExecutionCancelled(`execution ${execution.id} has no result: ${reason}`, execution.id)
}

function messageOf(error: unknown): string {
  const message = (error as { readonly message?: unknown } | null | undefined)?.message
  return typeof message === 'string' ? message : ''
}
