/** Executions that a worker holds: an attempt at a body, or a workflow that is advanced. */

import { Attempt, type Bodies, type Ended, wireError } from './_attempts'
import { CancelledError, type WorkflowsError } from './_errors'
import { called, tell } from './_failures'
import type { DurableFunction } from './_functions'
import { log } from './_log'
import {
  type Claimed,
  type Lease,
  type Notice,
  Operation,
  type Release,
  type ReleaseReason,
} from './_operations'
import type { Outbox } from './_outbox'
import { plain } from './_payload'

const OVER = new Set(['lease_lost', 'execution_finished', 'execution_not_found', 'closed'])

/** What an execution needs of its worker. */
export interface Home {
  readonly outbox: Outbox
  readonly bodies: Bodies
  /** The execution is no longer held. */
  freed(held: Held): void
  /** Sends an attempt's progress. */
  report(held: Held, details: unknown): void
  /** Sends an attempt's last progress, and waits until it is recorded. */
  record(held: Held, details: unknown): Promise<void>
}

/** An execution under a lease. */
export abstract class Held<H extends Home = Home> {
  readonly id: string
  readonly lease: Lease
  lost = false

  constructor(
    readonly home: H,
    readonly claimed: Claimed,
    readonly fn: DurableFunction | undefined,
  ) {
    this.id = claimed.id
    this.lease = claimed.lease
  }

  /** Starts the work. A function that this worker lacks is put back, for another one. */
  begin(): void {
    const { kind, name } = this.claimed
    if (this.fn === undefined) {
      log.warn(
        `no ${kind} '${name}' is registered in this worker, so ${this.id} is put back; ` +
          'import its module with -m, or serve its queue elsewhere',
      )
      this.release('no_function')
      return
    }
    this.start(this.fn).catch((error: unknown) => this.broken('begin', error))
  }

  protected abstract start(fn: DurableFunction): Promise<void>

  /** Takes in what pull_events told about the lease. */
  abstract notice(notice: Partial<Notice>): void

  /** Stops at the end of a drain; the worker's end releases the lease. */
  abstract interrupt(): void

  /** Puts the execution back without an outcome. */
  release(reason: ReleaseReason, message = ''): void {
    const item: Release = { id: this.id, lease: this.lease, reason }
    if (message) item.message = message
    this.home.outbox.add(Operation.RELEASE, item, (_, error) => this.ended(error))
  }

  /** The adapter itself failed: the execution goes to another worker, with back-off. */
  protected broken(what: string, error: unknown): void {
    const about = `${what} of ${this.claimed.name} ${this.id}`
    log.error(`${about} failed inside the adapter; it is put back`, error)
    this.release('no_function')
  }

  protected ended(error?: WorkflowsError): void {
    if (error !== undefined) {
      const line = `the outcome of ${this.claimed.name} ${this.id} was not taken: ${error.message}`
      if (isOver(error)) log.info(line)
      else log.error(line)
    }
    this.lost = true
    this.home.freed(this)
  }
}

/** Whether an execution that was refused so is somebody else's affair by now. */
export function isOver(error: WorkflowsError): boolean {
  return OVER.has(error.code)
}

/** A job or an activity: one attempt at its body. */
export class HeldAttempt extends Held {
  readonly attempt: Attempt

  constructor(home: Home, claimed: Claimed, fn: DurableFunction | undefined) {
    super(home, claimed, fn)
    this.attempt = new Attempt(claimed, (details) => home.report(this, details))
  }

  protected async start(fn: DurableFunction): Promise<void> {
    if (this.claimed.cancel_requested) this.attempt.stop('cancel')
    const { attempt } = this
    await null // a notice may have come together with the claim
    const [ok, value] = await this.#outcome(fn)
    if (!ok && attempt.reported && !this.lost) {
      // The next attempt reads it, and after the failure it would be refused.
      await this.home.record(this, attempt.progress)
    }
    if (attempt.reason === 'lost') this.ended()
    else if (attempt.reason !== 'stop' || ok) this.#finish(ok, value)
  }

  #outcome(fn: DurableFunction): Promise<Ended> | Ended {
    const { attempt, claimed } = this
    if (attempt.reason !== undefined) {
      return [false, new CancelledError('it was cancelled before it began')]
    }
    let args: unknown[]
    try {
      args = fn.adapted(claimed.args, claimed.kwargs)
    } catch (error) {
      return [false, error]
    }
    const timeout = claimed.attempt_timeout_ms || undefined
    const { plain: body } = fn
    return this.home.bodies.run(() => body(...args), attempt, timeout, { fn, args })
  }

  #finish(ok: boolean, value: unknown): void {
    const about = { id: this.id, lease: this.lease }
    if (ok) {
      try {
        const item = { ...about, result: plain(value, 'result') }
        const told = (_: unknown, error?: WorkflowsError) => this.#completed(error)
        this.home.outbox.add(Operation.COMPLETE_EXECUTION, item, told)
      } catch (error) {
        this.#fail(error) // it is not JSON, or its own toJSON() has failed
      }
    } else this.#fail(value)
  }

  #fail(error: unknown): void {
    const wire = wireError(error, this.claimed.retry)
    if (this.attempt.reason !== 'cancel') tell(called(this.claimed), wire, this.claimed.attempt)
    const item = { id: this.id, lease: this.lease, error: wire }
    this.home.outbox.add(Operation.FAIL_EXECUTION, item, (_, refused) => this.ended(refused))
  }

  /** Ends it; a result that the engine refused, too large perhaps, is the failure then. */
  #completed(error?: WorkflowsError): void {
    if (error === undefined || isOver(error)) {
      this.ended(error)
      return
    }
    const wire = { ...wireError(error), non_retryable: true }
    const item = { id: this.id, lease: this.lease, error: wire }
    this.home.outbox.add(Operation.FAIL_EXECUTION, item, (_, refused) => this.ended(refused))
  }

  /** Stops the body: at once if the lease is lost; one that is cancelled may tidy up. */
  notice(notice: Partial<Notice>): void {
    if (notice.lost) {
      log.warn(
        `the lease of ${this.claimed.name} ${this.id} was lost; what its body still does is dropped`,
      )
      this.lost = true
      this.attempt.stop('lost')
    } else if (notice.cancel_requested) {
      this.attempt.stop('cancel', { interrupt: false })
    }
  }

  /** Stops the body. */
  interrupt(): void {
    this.attempt.stop('stop')
  }

  protected override ended(error?: WorkflowsError): void {
    this.attempt.ended()
    super.ended(error)
  }
}
