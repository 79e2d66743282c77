/** Bodies of jobs, activities and steps: how an attempt runs, and what it can ask for. */

import timers, { clearTimeout, setTimeout } from 'node:timers'
import type { Client } from './_client'
import { CancelledError, NotDurableError } from './_errors'
import { called } from './_failures'
import type { DurableFunction } from './_functions'
import { outside } from './_loop'
import type { Claimed, RetryPolicy } from './_operations'
import { plain } from './_payload'
import { currentTry, Stopping, type Try, tries } from './_tries'
import { exceptionToError, type WireError } from './_wire_errors'

const { setImmediate } = timers // kept, since the guards put another in its place

/** Why a body is to stop. */
export type Reason = 'lost' | 'timeout' | 'cancel' | 'stop'

/** What became of a body: its result, or what it threw. */
export type Ended = readonly [ok: boolean, value: unknown]

/** The attempt that the code belongs to. */
export interface AttemptInfo {
  readonly id: string
  readonly name: string
  readonly queue: string
  readonly attempt: number
  readonly parentId: string | undefined
  readonly rootId: string
  /** Aborted when the body is to stop; the same as `abortSignal()` answers. */
  readonly signal: AbortSignal
}

/** An attempt did not end within its timeout. */
export class AttemptTimeout extends Error {
  override readonly name = 'AttemptTimeout'
}

// Shared and never changed, as most attempts are never told to stop.
const NOBODY: readonly (() => void)[] = []

/** One attempt at a body, while it runs. */
export class Attempt {
  progress: unknown
  reported = false
  reason: Reason | undefined
  /** Of the try that runs; a step has several in one attempt at its workflow. */
  controller = new Stopping()
  /** What was rejected in the try that runs, where nobody looks. */
  stray: { readonly error: unknown } | undefined
  #report: (details: unknown) => void
  #stops = NOBODY

  constructor(
    readonly claimed: Claimed,
    report: (details: unknown) => void,
  ) {
    this.progress = claimed.progress ?? null
    this.#report = report
  }

  /**
   * Tells the body to stop. Nobody can interrupt it: it has to look at `abortSignal()` or
   * `cancelled()`.
   *
   * @param interrupt Whether to wait no longer for what it does.
   */
  stop(reason: Reason, { interrupt = true }: { interrupt?: boolean } = {}): void {
    if (this.reason === undefined || reason === 'lost') this.reason = reason
    this.controller.abort(stopped(reason))
    if (!interrupt) return
    for (const heard of this.#stops) heard()
  }

  /** Fails the try: what it left behind was rejected, and nobody looks at it. */
  strayed(error: unknown): void {
    this.stray ??= { error }
    this.controller.abort(new CancelledError('a promise was rejected and nobody looked at it'))
    for (const heard of this.#stops) heard()
  }

  /** Has something called when the wait for the body is to end. */
  onStop(heard: () => void): void {
    this.#stops = this.#stops.length === 0 ? [heard] : [...this.#stops, heard]
  }

  /** Takes that back. */
  offStop(heard: () => void): void {
    if (this.#stops.length === 1 && this.#stops[0] === heard) this.#stops = NOBODY
    else this.#stops = this.#stops.filter((each) => each !== heard)
  }

  /** Gets ready for another try of the same body. */
  again(): void {
    this.reason = undefined
    this.stray = undefined
    this.controller = new Stopping()
  }

  /** Whether nobody wants the outcome any more. */
  get isGivenUp(): boolean {
    return this.reason === 'lost' || this.reason === 'stop' || this.reason === 'cancel'
  }

  /** Whether the body was asked to stop. */
  get stopped(): boolean {
    return this.controller.aborted
  }

  /** Nobody is told any more of what a body reports that goes on after its end. */
  ended(): void {
    this.#report = () => {}
  }

  /** Reports progress. */
  beat(details: unknown): void {
    this.progress = details
    this.reported = true
    this.#report(details)
  }
}

function stopped(reason: Reason): Error {
  if (reason === 'timeout') return new AttemptTimeout('the attempt did not end within its timeout')
  const why = {
    lost: 'the lease of the execution was lost',
    cancel: 'the execution was asked to stop',
    stop: 'the worker is stopping',
  }[reason]
  return new CancelledError(why)
}

// --- what bodies call ---

/**
 * Reports the progress of the running job or activity.
 *
 * The next attempt finds the details in `lastHeartbeat()`, and so does whoever looks at the
 * execution. It is not needed to stay alive: the library keeps the lease by itself, however
 * busy the body is.
 *
 * @throws {PayloadError} The details are not JSON.
 * @throws {NotDurableError} No job or activity is running here.
 *
 * @example
 * ```ts
 * for (let done = start; done < total; done++) heartbeat({ done })
 * ```
 */
export function heartbeat(details: unknown = null): void {
  running('heartbeat()').attempt.beat(plain(details, 'details'))
}

/** Answers the details of the last heartbeat, of this attempt or an earlier one, or null. */
export function lastHeartbeat<T = any>(): T | null {
  return structuredClone(running('lastHeartbeat()').attempt.progress) as T | null
}

/**
 * Says whether the running body was asked to stop, or its result is not wanted any more.
 *
 * Nothing interrupts a body: look here from time to time, or pass on `abortSignal()`.
 */
export function cancelled(): boolean {
  return currentTry()?.controller.aborted ?? false
}

/**
 * Answers the signal that is aborted when the running body is to stop: it was cancelled, its
 * time is over, its lease was lost, or its worker stops and waits no longer.
 *
 * Hand it to whatever takes one. What the body answers after that is dropped.
 *
 * @throws {NotDurableError} No job, activity or step is running here.
 *
 * @example
 * ```ts
 * const page = await fetch(url, { signal: abortSignal() })
 * ```
 */
export function abortSignal(): AbortSignal {
  return running('abortSignal()').controller.signal
}

/**
 * Answers which execution this is, and which attempt at it.
 *
 * @throws {NotDurableError} No job, activity or step is running here.
 */
export function attemptInfo(): AttemptInfo {
  const { attempt, controller } = running('attemptInfo()')
  const { id, name, queue, parent_id, root_id } = attempt.claimed
  return {
    id,
    name,
    queue,
    attempt: attempt.claimed.attempt,
    parentId: parent_id,
    rootId: root_id,
    signal: controller.signal,
  }
}

function running(what: string): Try {
  const found = currentTry()
  if (found === undefined) {
    throw new NotDurableError(
      `${what} only works in the body of a job, an activity or a step that a worker runs`,
    )
  }
  return found
}

// --- how bodies run ---

/** Takes back what was to happen later. */
export type Forget = () => void

/** A body, as a call without arguments. */
export type Body = () => unknown

/** Which function a body is of, and what it is called with. */
export interface Called {
  readonly fn: DurableFunction
  readonly args: readonly unknown[]
}

/** Runs bodies. */
export class Bodies {
  // Bodies whose result nobody waits for any more. They cannot be stopped, and take a slot.
  readonly #abandoned = new Set<Try>()

  constructor(
    private readonly client: Client,
    private readonly freed: () => void,
  ) {}

  /** How many bodies go on although nobody waits for their result any more. */
  get abandoned(): number {
    return this.#abandoned.size
  }

  /** Names them for the log, the oldest first. */
  get abandonedNames(): string[] {
    return Array.from(this.#abandoned, ({ who }) => who)
  }

  /**
   * Runs a body once, and answers what became of it. Nothing gets out of it.
   *
   * @param timeout In milliseconds; undefined means none.
   * @param of Tells a step's body from its workflow's.
   */
  async run(body: Body, attempt: Attempt, timeout?: number, of?: Called): Promise<Ended> {
    const trial = new Trial(attempt, this.client, of)
    let tell: Tell = unheard
    const told = new Promise<Ended | undefined>((resolve) => {
      tell = resolve
    })
    attempt.onStop(tell)
    const forget =
      timeout === undefined ? undefined : this.later(timeout, () => attempt.stop('timeout'))
    const ended = this.start(body, trial)
    void ended.then(tell)
    const first = await told
    trial.isAwaited = false
    forget?.()
    attempt.offStop(tell)
    const outcome = first ?? (await this.#given(ended, trial))
    if (attempt.stray !== undefined) return [false, attempt.stray.error]
    return attempt.reason === 'timeout' ? [false, timedOut(timeout ?? 0)] : outcome
  }

  /** Answers where in the jitter of its policy the pause before a step's next try falls. */
  spread(): number {
    return 2 * Math.random() - 1
  }

  /** Has something happen after a time, in milliseconds. */
  later(delay: number, act: () => void): Forget {
    return after(delay, act)
  }

  /** Begins a body in a context of its own, and answers what becomes of it. */
  protected start(body: Body, trial: Try): Promise<Ended> {
    return outside(() => tries.run(trial, caught, body))
  }

  /** Gives a body that was stopped the moment in which one that listens ends; then it is left. */
  async #given(ended: Promise<Ended>, trial: Try): Promise<Ended> {
    const moment = new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))
    const outcome = await Promise.race([ended, moment])
    if (outcome !== undefined) return outcome
    this.#abandoned.add(trial)
    void ended.then(() => {
      this.#abandoned.delete(trial)
      this.freed()
    })
    return [false, new CancelledError('the body did not end when it was asked to')]
  }
}

/** A try whose name is put together when somebody asks for it. */
class Trial implements Try {
  isAwaited = true
  readonly controller: Stopping

  constructor(
    readonly attempt: Attempt,
    readonly client: Client,
    private readonly of: Called | undefined,
  ) {
    this.controller = attempt.controller
  }

  get who(): string {
    const name = called(this.attempt.claimed)
    return this.of?.fn.kind === 'step' ? `step ${this.of.fn.functionName} of ${name}` : name
  }
}

type Tell = (first?: Ended) => void

function unheard(): void {}

async function caught(body: Body): Promise<Ended> {
  try {
    return [true, await body()]
  } catch (error) {
    return [false, error]
  }
}

function timedOut(timeout: number): AttemptTimeout {
  return new AttemptTimeout(`the attempt did not end within ${timeout / 1000} s`)
}

const LONGEST_TIMER = 2 ** 31 - 1 // Node fires one that is longer at once

/** Has something happen after a time, in milliseconds, however long it is. */
export function after(delay: number, act: () => void): Forget {
  const step = Math.min(delay, LONGEST_TIMER)
  let rest: Forget | undefined
  const timer = setTimeout(() => {
    if (delay > step) rest = after(delay - step, act)
    else act()
  }, step)
  return () => {
    clearTimeout(timer)
    rest?.()
  }
}

// --- errors ---

/** Answers an error for the wire. A subclass of a type that is never retried is not either. */
export function wireError(error: unknown, retry?: RetryPolicy): WireError {
  const wire = exceptionToError(error)
  const never = retry?.non_retryable ?? []
  if (never.length > 0 && namesOf(error).some((name) => never.includes(name))) {
    wire.non_retryable = true
  }
  return wire
}

/** The names of an error's class and of those that it extends. */
function namesOf(error: unknown): string[] {
  if (typeof error !== 'object' || error === null) return []
  const own = (error as { name?: unknown }).name
  const names = typeof own === 'string' ? [own] : []
  for (
    let each = Object.getPrototypeOf(error);
    each !== null && each !== Object.prototype;
    each = Object.getPrototypeOf(each)
  ) {
    if (typeof each.constructor?.name === 'string') names.push(each.constructor.name)
  }
  return names
}
