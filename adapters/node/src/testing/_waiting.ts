/** Those who wait in an environment: for an end, a condition, work, or for nothing to run. */

import { AsyncResource } from 'node:async_hooks'
import timers from 'node:timers'
import type { Duration } from '../_settings'
import { seconds } from '../_settings'
import { text } from './_clock'
import type { MemoryEngine } from './_engine'
import { Endless, Stuck } from './_errors'
import type { Row } from './_rows'
import type { Troubles } from './_troubles'
import type { Waits } from './_waits'

const SCRIPT = 9 // what a test has planned comes after everything else of that instant

// Kept, since a test may put fake timers in their places.
const { setImmediate } = timers

/** A condition, asked whenever something has happened. */
export type Condition = () => boolean | Promise<boolean>

/** What those who wait need of their environment. */
export interface Host {
  /** Something has happened: time is not skipped yet. */
  stir(): void
  /** Proves workflows deterministic. */
  prove(rows: Iterable<Row>): Promise<void>
  /** What keeps the worker from going on. */
  readonly failure: unknown
}

/** Somebody who waits: for the end of an execution, or, without one, for whatever comes. */
class Waiter {
  isDone = false
  isDue = true
  readonly promise: Promise<void>
  #resolve!: () => void
  #reject!: (error: unknown) => void

  constructor(
    readonly outside: boolean,
    readonly row?: Row,
  ) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  release(): void {
    this.isDone = true
    this.#resolve()
  }

  fail(error: unknown): void {
    this.isDone = true
    this.#reject(error)
  }
}

interface Planned {
  readonly holds: Condition
  readonly act: () => unknown
}

/** Tells those who wait, as soon as there is something to tell. */
export class Waiting {
  readonly #host: Host
  readonly #engine: MemoryEngine
  readonly #troubles: Troubles
  readonly #waits: Waits
  readonly #limit: number
  readonly #waiters = new Set<Waiter>()
  readonly #quiet = new Set<Waiter>()
  readonly #conditions = new Set<Planned>()
  #pollers: { readonly version: number; readonly wake: () => void }[] = []
  #failures: unknown[] = []
  #looking: Promise<boolean> | undefined
  #lookDue = false

  constructor(
    host: Host,
    engine: MemoryEngine,
    troubles: Troubles,
    waits: Waits,
    /** How far time may go, in milliseconds. */
    limit: number,
  ) {
    this.#host = host
    this.#engine = engine
    this.#troubles = troubles
    this.#waits = waits
    this.#limit = engine.clock.start + 1000 * limit
    engine.changed.push(() => this.changed())
  }

  // --- waiting ---

  /** Whether somebody waits from outside, so that time is to go on. */
  get isAwaited(): boolean {
    return this.#outside().length > 0
  }

  /** Waits for the end of an execution, and answers whether it came in time. */
  async endOf(
    row: Row,
    limit: number | undefined,
    { outside, signal }: { outside: boolean; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    signal?.throwIfAborted()
    const waiter = new Waiter(outside, row)
    const abort = () => waiter.fail(signal?.reason)
    signal?.addEventListener('abort', abort)
    const release = () => waiter.release()
    const due = limit === undefined ? undefined : this.#plan(limit, 'the end of a wait', release)
    try {
      await this.#wait(this.#waiters, waiter)
    } finally {
      due?.drop()
      signal?.removeEventListener('abort', abort)
    }
    return !row.isOpen
  }

  /** Waits until something is not as it was at this version. */
  news(version: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort)
      const wake = () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      this.#pollers.push({ version, wake })
    })
  }

  /** Waits until a condition holds. */
  async until(holds: Condition): Promise<void> {
    const waiter = new Waiter(true)
    const planned = { holds: AsyncResource.bind(holds), act: () => waiter.release() }
    this.#conditions.add(planned)
    try {
      await this.#wait(this.#waiters, waiter)
    } finally {
      this.#conditions.delete(planned)
    }
  }

  /** Lets time pass, in milliseconds, and waits until nothing runs. */
  async skip(duration: number): Promise<void> {
    const waiter = new Waiter(true)
    waiter.isDue = duration === 0
    if (duration > 0) {
      this.#plan(duration, 'what env.skip() waits for', () => {
        waiter.isDue = true
      })
    }
    await this.#wait(this.#quiet, waiter)
  }

  async #wait(among: Set<Waiter>, waiter: Waiter): Promise<void> {
    if (waiter.outside) this.throwFailure()
    among.add(waiter)
    this.changed()
    try {
      await waiter.promise
    } finally {
      among.delete(waiter)
    }
    if (waiter.outside) this.throwFailure()
  }

  #outside(): Waiter[] {
    return [...this.#waiters, ...this.#quiet].filter((waiter) => waiter.outside && !waiter.isDone)
  }

  #plan(ms: number, what: string, act: () => void) {
    const at = this.#engine.clock.now + Math.round(1000 * ms)
    const due = this.#engine.agenda.add(at, what, act, SCRIPT)
    this.changed()
    return due
  }

  // --- what a test plans ---

  /** Plans something for an instant. */
  after(duration: Duration, act: () => unknown): void {
    const ms = 1000 * seconds(duration, { name: 'after' })
    const bound = AsyncResource.bind(act)
    this.#plan(ms, 'what the test has planned', () => this.#run(bound))
  }

  /** Plans something for as soon as a condition holds. */
  when(holds: Condition, act: () => unknown): void {
    this.#conditions.add({ holds: AsyncResource.bind(holds), act: AsyncResource.bind(act) })
    this.changed()
  }

  /** Plans something for when so many more events have been written. */
  afterEvents(count: number, act: () => void): void {
    let left = count
    const listen = () => {
      left -= 1
      if (left > 0) return
      this.#engine.onEvent.delete(listen)
      act()
    }
    this.#engine.onEvent.add(listen)
  }

  /** Has something called that is awaited if it can be. */
  #run(act: () => unknown): void {
    const acting = async () => await act()
    acting()
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.changed())
  }

  /** Has whoever waits, or will wait next, get an error. */
  fail(error: unknown): void {
    const waiting = this.#outside()
    for (const waiter of waiting) waiter.fail(error)
    if (waiting.length === 0 && this.#failures.length === 0) this.#failures.push(error)
  }

  /** Throws an error that nobody has heard of yet. */
  throwFailure(): void {
    for (const failure of this.#failures.splice(0)) throw failure
  }

  // --- looking, whenever something has changed ---

  /** Wakes those who poll, and has a look soon. */
  changed(): void {
    this.#host.stir()
    const { version } = this.#engine
    const ready = this.#pollers.filter((poller) => poller.version !== version)
    this.#pollers = this.#pollers.filter((poller) => poller.version === version)
    for (const { wake } of ready) wake()
    if (this.#lookDue || (this.#conditions.size === 0 && this.#waiters.size === 0)) return
    this.#lookDue = true
    setImmediate(() => {
      this.#lookDue = false
      void this.look()
    })
  }

  /** Sees to what has come true; answers whether there was something. */
  look(): Promise<boolean> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<boolean> {
    let found = false
    for (const waiter of [...this.#waiters]) found = (await this.#settle(waiter)) || found
    for (const planned of [...this.#conditions]) found = (await this.#try(planned)) || found
    const endless = this.#quiet.size > 0 ? this.#troubles.endless() : undefined
    if (endless !== undefined) this.fail(endless)
    return found
  }

  async #try(planned: Planned): Promise<boolean> {
    try {
      if (!(await planned.holds())) return false
    } catch (error) {
      if (this.#conditions.delete(planned)) this.fail(error)
      return true
    }
    if (this.#conditions.delete(planned)) this.#run(planned.act)
    return true
  }

  /** Tells a waiter that the end has come, or what keeps it from coming. */
  async #settle(waiter: Waiter): Promise<boolean> {
    const { row, outside } = waiter
    if (waiter.isDone || row === undefined) return false
    try {
      const error = outside ? (this.#host.failure ?? (await this.#troubles.of(row))) : undefined
      if (error !== undefined) throw error
      if (row.isOpen) return false
      if (outside) await this.#host.prove(endedOf(row))
    } catch (error) {
      waiter.fail(error)
      return true
    }
    waiter.release()
    return true
  }

  // --- asked before time is skipped ---

  /** Nothing is due: tells whoever waits from outside what it is that does not come. */
  async stuck(): Promise<void> {
    if (this.#calm()) return
    for (const waiter of this.#outside()) waiter.fail(new Stuck(await this.#report(waiter.row)))
  }

  /** Tells whoever waits from outside if time would go too far; answers whether it would. */
  over(at: number): boolean {
    if (this.#calm()) return true
    const waiting = this.#outside().filter((waiter) => this.#waiters.has(waiter))
    if (at <= this.#limit || waiting.length === 0) return false
    const due = this.#engine.agenda.next()
    const what = due === undefined ? '' : `; the next thing due is ${due.what}`
    const message =
      `time would go beyond ${text(this.#limit).slice(0, 10)}${what}. End the workflow, as with ` +
      'handle.cancel(reason, { after }), or allow more with timeLimit'
    for (const waiter of waiting) waiter.fail(new Endless(message))
    return true
  }

  /** Tells those who wait until nothing runs. */
  #calm(): boolean {
    const ready = [...this.#quiet].filter((waiter) => waiter.isDue && !waiter.isDone)
    for (const waiter of ready) waiter.release()
    return ready.length > 0
  }

  async #report(row: Row | undefined): Promise<string> {
    const head = 'nothing can run and nothing is due, and'
    if (row !== undefined) {
      return await this.#waits.report([row], `${head} somebody waits for the end of '${row.name}'`)
    }
    const rows = [...this.#engine.rows.values()]
    const open = rows.filter((each) => each.parent === undefined && each.isOpen)
    return await this.#waits.report(open, `${head} the condition does not hold`)
  }
}

/** Answers an execution, and what came of it, as far as it has ended. */
function* endedOf(row: Row): Generator<Row> {
  if (!row.isOpen) yield row
  for (const child of row.children) yield* endedOf(child)
}
