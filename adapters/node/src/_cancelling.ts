/**
 * How the code of a workflow hears of a cancel: once, where it waits.
 *
 * What waits belongs to a scope, and scopes are a tree: the workflow itself, a timeout, a branch
 * that was given as a function, what is shielded. A cancel goes to all that waits below.
 */

import { CancelledError } from './_errors'
import type { Replay } from './_replay'

/** Something that can be told to end. */
export interface Cancellable {
  /** Whether it has ended. */
  readonly done: boolean

  /** Cancels it; answers whether it heard, so that it will end. */
  cancel(reason: string): boolean

  /** Protects it from the cancels of the scopes around it. */
  shield(): void

  /** Puts it behind all that began before, in the order in which a cancel goes round. */
  putLast(): void
}

const known = new WeakMap<object, Cancellable>()

/** Answers what stands behind a promise of the SDK, undefined for any other value. */
export function cancellableOf(promise: unknown): Cancellable | undefined {
  return typeof promise === 'object' && promise !== null ? known.get(promise) : undefined
}

/** Notes what stands behind a promise, and answers the promise. */
export function registered<P extends object>(promise: P, cancellable: Cancellable): P {
  known.set(promise, cancellable)
  return promise
}

/** A branch of a workflow's code, whose waits are cancelled together. */
export class Scope implements Cancellable {
  readonly #waits = new Set<Wait<any>>()
  #inner: Set<Scope> | undefined
  #cancels = 0
  #reason: string | undefined
  #unheard: string | undefined
  order: number
  /** Whether something that waited here has heard of a cancel, and may be cleaning up. */
  hasHeard = false

  constructor(
    readonly replay: Replay,
    readonly parent?: Scope,
    private shielded = false,
  ) {
    this.order = replay.order()
  }

  /** A scope never ends by itself; whoever runs code in it knows when that has ended. */
  get done(): boolean {
    return false
  }

  /** How many cancels have reached the scope, its own and those from around it. */
  get reached(): number {
    return this.#cancels + (this.#outer?.reached ?? 0)
  }

  /** Why it was cancelled last. */
  get reason(): string | undefined {
    return this.#reason ?? this.#outer?.reason
  }

  /**
   * Rejects all that waits in the scope and below, in the order in which it began to, a branch as
   * a whole. If nothing does, the next wait hears of it; the answer is false then.
   */
  cancel(reason: string): boolean {
    this.#cancels += 1
    this.#reason = reason
    const waits = this.#open()
    if (waits.length === 0) this.#unheard = reason
    for (const wait of waits) wait.cancel(reason)
    return waits.length > 0
  }

  /** Rejects what still waits, where a part has heard of the cancel already. */
  cancelRest(reason: string): void {
    for (const wait of this.#open()) wait.cancel(reason)
  }

  shield(): void {
    this.shielded = true
  }

  putLast(): void {
    this.order = this.replay.order()
  }

  /** Notes that something that waited here has heard of a cancel. */
  hears(): void {
    this.hasHeard = true
    this.#outer?.hears()
  }

  /** Answers the reason of a cancel that nobody has heard of yet, and forgets it. */
  heard(): string | undefined {
    const reason = this.#unheard
    this.#unheard = undefined
    return reason ?? this.#outer?.heard()
  }

  /** Takes a wait in. */
  add(wait: Wait<any>): void {
    if (this.#isEmpty) this.parent?.attach(this)
    this.#waits.add(wait)
  }

  /** Lets go of a wait that has ended. */
  remove(wait: Wait<any>): void {
    if (this.#waits.delete(wait) && this.#isEmpty) this.parent?.detach(this)
  }

  /** Forgets all that waits. */
  drop(): void {
    if (this.#waits.size > 0) this.#waits.clear() // which makes a new table
    this.#inner = undefined
  }

  // Only scopes in which something waits are held, so that branches without number leave nothing.
  private attach(inner: Scope): void {
    if (this.#isEmpty) this.parent?.attach(this)
    this.#inner ??= new Set()
    this.#inner.add(inner)
  }

  private detach(inner: Scope): void {
    if (this.#inner?.delete(inner) && this.#isEmpty) this.parent?.detach(this)
  }

  get #isEmpty(): boolean {
    return this.#waits.size === 0 && (this.#inner === undefined || this.#inner.size === 0)
  }

  get #outer(): Scope | undefined {
    return this.shielded ? undefined : this.parent
  }

  #open(): Wait<any>[] {
    const parts = [...this.#waits, ...[...(this.#inner ?? [])].filter((inner) => !inner.shielded)]
    parts.sort((one, other) => one.order - other.order)
    return parts.flatMap((part) => (part instanceof Scope ? part.#open() : [part]))
  }
}

/** What workflow code waits for: a promise that the replay settles. */
export class Wait<R> implements Cancellable {
  readonly promise: Promise<R>
  order: number
  status: 'pending' | 'completed' | 'failed' | 'cancelled' = 'pending'
  error: unknown
  #resolve!: (value: R) => void
  #reject!: (error: unknown) => void

  constructor(protected scope: Scope) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.order = scope.replay.order()
    known.set(this.promise, this)
    scope.add(this)
  }

  /** Answers a wait for a promise that goes on if the wait is cancelled. */
  static on<R>(promise: Promise<R>, scope: Scope): Promise<Awaited<R>> {
    const wait = new Wait<any>(scope)
    promise.then(
      (value) => wait.complete(value),
      (error: unknown) => wait.fail(error),
    )
    return wait.begun().promise
  }

  get done(): boolean {
    return this.status !== 'pending'
  }

  /** The workflow that it belongs to. */
  get replay(): Replay {
    return this.scope.replay
  }

  /** Ends the wait with a result. */
  complete(value: R): void {
    if (!this.#ended('completed')) return
    this.#resolve(value)
  }

  /** Ends the wait with an error, which the code may or may not look at. */
  fail(error: unknown): void {
    if (!this.#ended('failed')) return
    this.#throw(error)
  }

  cancel(reason: string): boolean {
    if (!this.#ended('cancelled')) return false
    this.scope.hears()
    this.error = new CancelledError(reason)
    this.abandoned()
    // One at a time, each when the code has dealt with the one before: else it would be a matter
    // of the depth of the functions which of two clean-ups asks first.
    this.replay.atRest(() => this.#throw(this.error))
    return true
  }

  putLast(): void {
    this.order = this.replay.order()
  }

  shield(): void {
    if (this.done) return
    this.scope.remove(this)
    this.scope = new Scope(this.scope.replay, this.scope, true)
    this.scope.add(this)
  }

  /** Takes in what a cancel that came while nothing waited has left. */
  begun(): this {
    const reason = this.done ? undefined : this.scope.heard()
    if (reason !== undefined) this.cancel(reason)
    return this
  }

  /** The code has cancelled the wait. */
  protected abandoned(): void {}

  #ended(status: 'completed' | 'failed' | 'cancelled'): boolean {
    if (this.done) return false
    this.status = status
    this.scope.remove(this)
    return true
  }

  #throw(error: unknown): void {
    this.error = error
    this.promise.catch(() => {}) // the code may look at it later, or never
    this.#reject(error)
  }
}
