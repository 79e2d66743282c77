/** The handle of what a workflow has started. */

import type { Call } from './_calls'
import type { Change, Sent, Status } from './_camel'
import { Wait } from './_cancelling'
import { timeout as limited } from './_combinators'
import { NotDurableError } from './_errors'
import { Handle, type SignalOptions } from './_handles'
import { ActivityCancelled, ChildCancelled } from './_outcomes'
import type { Duration } from './_settings'

/** The handle of what a workflow has started. Its waits are durable. */
export class ChildHandle<R> extends Handle<R> {
  readonly #call: Call<R>

  constructor(call: Call<R>) {
    super(call.id)
    this.#call = call
  }

  /**
   * Waits for the end, durably. Cancelling the wait does not cancel what it waits for.
   *
   * @param options.timeout - how long to wait. Default: for ever.
   * @throws TimeoutError - it did not end in time.
   * @throws ActivityError - it failed for good, if it is an activity or a job.
   * @throws ChildError - it failed for good, if it is a workflow; the subclass says how.
   */
  override result(options: { readonly timeout?: Duration | undefined } = {}): Promise<R> {
    const wait = () => Wait.on(this.#call.promise, this.#call.replay.scope)
    return options.timeout === undefined ? wait() : limited(options.timeout, wait)
  }

  /**
   * Cancels it. Whoever waits for its result gets ActivityCancelled or ChildCancelled.
   *
   * The answer is what this workflow knows: `changed` is false if the end was recorded already.
   * The reason is not passed on: its own is that its parent cancelled it.
   */
  override async cancel(_reason = ''): Promise<Change> {
    if (this.#call.done) return { status: statusOf(this.#call), changed: false }
    this.#call.stop()
    return { status: 'cancelled', changed: true }
  }

  /** Sends it a signal, once, however often the workflow is replayed. */
  override signal(
    name: string,
    payload: unknown = null,
    options: SignalOptions = {},
  ): Promise<Sent> {
    return this.#call.replay.sendSignal(this.id, name, payload, options.key)
  }

  /** Refused inside a workflow: the answer is not recorded. */
  override status(): Promise<Status> {
    return refused('status()', 'await handle.result(), or ask from an activity')
  }

  /** Refused inside a workflow: the answer is not recorded. */
  override getState(): Promise<never> {
    return refused('getState()', 'a signal from it, or ask from an activity')
  }

  /** Refused inside a workflow. */
  override terminate(_reason = ''): Promise<Change> {
    return refused('terminate()', 'await handle.cancel()')
  }
}

function statusOf(call: Call<any>): Status {
  if (call.status === 'completed') return 'completed'
  const { error } = call
  const isCancelled = error instanceof ActivityCancelled || error instanceof ChildCancelled
  return call.status === 'cancelled' || isCancelled ? 'cancelled' : 'failed'
}

async function refused(what: string, instead: string): Promise<never> {
  throw new NotDurableError(`${what} is not durable inside a workflow; use ${instead}`)
}
