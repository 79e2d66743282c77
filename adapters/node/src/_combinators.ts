/**
 * Waiting for several things at once, in the same order in every process and version of Node.
 *
 * They work outside workflows as well. In workflows `Promise.all`, `Promise.race`,
 * `Promise.allSettled` and `for await` may be used just as well; but they cancel nothing.
 */

import { clearTimeout, setTimeout } from 'node:timers'
import { type Cancellable, cancellableOf, registered, Scope, Wait } from './_cancelling'
import { CancelledError, NotDurableError, TimeoutError } from './_errors'
import { current, storage } from './_loop'
import { type Duration, milliseconds } from './_settings'

/**
 * Something to wait for: a promise, or a function that is called at once and may answer one.
 *
 * What a function calls can be cancelled as a whole. Of promises only those of this package can:
 * of an async function that was called already nobody knows what it waits for.
 */
export type Branch<T> = PromiseLike<T> | (() => T | PromiseLike<T>)

/** What a branch answers. */
export type Answer<B> = B extends () => infer T ? Awaited<T> : Awaited<B>

/** A branch that was started. */
class Member implements Cancellable {
  #settled = false

  /**
   * @param promise - what it answers.
   * @param part - what stands behind the promise.
   * @param own - the scope of its function.
   */
  constructor(
    readonly promise: Promise<any>,
    private readonly part?: Cancellable,
    private readonly own?: Scope,
  ) {
    const settle = () => {
      this.#settled = true
    }
    promise.then(settle, settle)
  }

  get done(): boolean {
    return this.#settled || this.part?.done === true
  }

  cancel(reason: string): boolean {
    // What was cancelled with the part has heard: a second cancel would come into its clean-up.
    if (this.part?.cancel(reason)) {
      this.own?.cancelRest(reason)
      return true
    }
    return this.own?.cancel(reason) === true
  }

  /** Whether it has heard of a cancel, so that it ends by itself. */
  get hasHeard(): boolean {
    return [this.part, this.own].some((each) => each instanceof Scope && each.hasHeard)
  }

  shield(): void {
    this.part?.shield()
    this.own?.shield()
  }

  putLast(): void {
    this.part?.putLast()
    this.own?.putLast()
  }
}

/** What a combinator answers, with the branches it waits for. */
class Group implements Cancellable {
  readonly #members: readonly Member[]
  done = false

  constructor(promise: Promise<unknown>, members: readonly Member[]) {
    this.#members = members
    const settle = () => {
      this.done = true
    }
    promise.then(settle, settle)
  }

  cancel(reason: string): boolean {
    const open = this.#members.filter((member) => !member.done)
    return open.map((member) => member.cancel(reason)).includes(true)
  }

  shield(): void {
    for (const member of this.#members) member.shield()
  }

  putLast(): void {
    for (const member of this.#members) member.putLast()
  }
}

function grouped<T>(promise: Promise<T>, members: readonly Member[]): Promise<T> {
  return registered(promise, new Group(promise, members))
}

function started(branch: unknown, shielded = false): Member {
  if (typeof branch !== 'function') {
    const part = cancellableOf(branch)
    refuseOthers(part)
    part?.putLast() // in argument order, and not in that of the calls
    return new Member(Promise.resolve(branch), part)
  }
  const scope = current()
  if (scope === undefined) return new Member(called(branch as () => unknown))
  const own = new Scope(scope.replay, scope, shielded)
  const promise = storage.run(own, () => called(branch as () => unknown))
  // What it answers at once counts as if it had been given instead.
  const part = cancellableOf(promise)
  refuseOthers(part)
  return new Member(promise, part, own)
}

/** Refuses a promise of another workflow: it ends when that goes on, wherever that is. */
function refuseOthers(part: Cancellable | undefined): void {
  const here = current()?.replay
  if (!(part instanceof Wait) || here === undefined || part.replay === here) return
  throw new NotDurableError(
    'the promise belongs to another workflow, so nothing that is recorded here ends it; share ' +
      'values between workflows, and no promises',
  )
}

function called(branch: () => unknown): Promise<unknown> {
  try {
    return Promise.resolve(branch())
  } catch (error) {
    return Promise.reject(error)
  }
}

function allStarted(branches: Iterable<unknown>): Member[] {
  return Array.from(branches, (branch) => started(branch))
}

/**
 * Waits for all and answers their results, in the order of the arguments.
 *
 * The first failure, in the order of events, is thrown at once; the others go on and their
 * results are dropped. Of nothing it answers [].
 *
 * @param branches - promises, or functions, which start in the order given.
 *
 * @example
 * const [a, b] = await all([fetch.run(1), fetch.run(2)])
 */
export function all<const B extends readonly unknown[]>(
  branches: B,
): Promise<{ -readonly [K in keyof B]: Answer<B[K]> }>
export function all<B>(branches: Iterable<B>): Promise<Answer<B>[]>
export function all(branches: Iterable<unknown>): Promise<any> {
  const members = allStarted(branches)
  return grouped(together(members), members)
}

async function together(members: readonly Member[]): Promise<unknown[]> {
  const cancels = new Cancels()
  try {
    return await Promise.all(members.map(({ promise }) => promise))
  } catch (error) {
    // Every branch hears of a cancel before whoever waits for all of them goes on.
    if (cancels.came) await current()?.replay.rested()
    throw error
  }
}

/**
 * Waits until all have ended, and answers how, in the order of the arguments.
 *
 * Nothing is thrown, unless the wait itself is cancelled: then it is, when all have ended.
 *
 * @param branches - promises, or functions, which start in the order given.
 */
export function allSettled<const B extends readonly unknown[]>(
  branches: B,
): Promise<{ -readonly [K in keyof B]: PromiseSettledResult<Answer<B[K]>> }>
export function allSettled<B>(branches: Iterable<B>): Promise<PromiseSettledResult<Answer<B>>[]>
export function allSettled(branches: Iterable<unknown>): Promise<any> {
  const members = allStarted(branches)
  return grouped(settled(members), members)
}

async function settled(members: readonly Member[]): Promise<PromiseSettledResult<unknown>[]> {
  const cancels = new Cancels()
  const results = await Promise.allSettled(members.map(({ promise }) => promise))
  if (cancels.came) {
    for (const each of results) {
      if (each.status === 'rejected' && each.reason instanceof CancelledError) throw each.reason
    }
  }
  return results
}

/** Notices cancels of the scope that the code belongs to. */
class Cancels {
  readonly #scope = current()
  readonly #before = this.#scope?.reached

  get came(): boolean {
    return this.#scope?.reached !== this.#before
  }

  get reason(): string {
    return this.#scope?.reason ?? ''
  }
}

/**
 * Waits for the first to end, cancels the others, and answers its name and result.
 *
 * If the first ends in an error, that is thrown. Losers that hear of their cancel are waited for
 * until they have ended too, so nothing of them runs on afterwards. Of several that have ended
 * already the first by argument order wins, and functions are not called any more.
 *
 * A promise of this package is cancelled itself, a function with all that it waits for. Any other
 * promise, such as that of an async function that was called already, goes on: pass the function.
 *
 * Names that are whole numbers come first in JavaScript, whatever the order they were written in.
 *
 * @param branches - promises or functions by name; functions start in the order given.
 * @throws RangeError - there is nothing to race.
 *
 * @example
 * const [name, value] = await race(\{ paid: waitForSignal('paid'), late: sleep('24h') \})
 * if (name === 'late') ...
 */
export function race<B extends { readonly [name: string]: Branch<unknown> }>(
  branches: B,
): Promise<{ [K in keyof B]: [name: K, value: Answer<B[K]>] }[keyof B]> {
  const won = Object.keys(branches).some((name) => cancellableOf(branches[name])?.done)
  const names = Object.keys(branches).filter((name) => !won || typeof branches[name] !== 'function')
  const members = names.map((name) => started(branches[name]))
  return grouped(raced(names, members), members) as Promise<any>
}

async function raced(names: readonly string[], members: readonly Member[]): Promise<unknown> {
  if (names.length === 0) throw new RangeError('race() needs at least one branch')
  const cancels = new Cancels()
  const first = await firstOf(members)
  const winner = members[first] as Member
  const losers = members.filter((member) => member !== winner && !member.done)
  // A cancel of the whole has reached them already: no second one may come into their clean-ups.
  const open = losers.filter((loser) =>
    cancels.came ? loser.hasHeard : loser.cancel('another branch of the race was first'),
  )
  if (open.length > 0) await Promise.allSettled(open.map(({ promise }) => promise))
  if (cancels.came) throw new CancelledError(cancels.reason)
  return [names[first], await winner.promise]
}

async function firstOf(members: readonly Member[]): Promise<number> {
  const ended = members.findIndex((member) => member.done)
  if (ended >= 0) return ended
  return await new Promise<number>((resolve) => {
    for (const [index, { promise }] of members.entries()) {
      const end = () => resolve(index)
      promise.then(end, end)
    }
  })
}

/** When `wait` is to end. */
export type ReturnWhen = 'FIRST_COMPLETED' | 'FIRST_EXCEPTION' | 'ALL_COMPLETED'

/**
 * Waits as asked for; answers what is done and what is not, in the order given.
 *
 * Nothing is cancelled, and nothing thrown.
 *
 * @param promises - what to wait for.
 * @param options.timeout - after which it answers in any case.
 * @param options.returnWhen - default 'ALL_COMPLETED'.
 */
export async function wait<T>(
  promises: Iterable<Promise<T>>,
  options: { readonly timeout?: Duration | undefined; readonly returnWhen?: ReturnWhen } = {},
): Promise<[done: Promise<T>[], open: Promise<T>[]]> {
  const { timeout: limit, returnWhen = 'ALL_COMPLETED' } = options
  const given = [...promises]
  const done = new Set<Promise<T>>(given.filter((each) => cancellableOf(each)?.done))
  const ending = new Waiting(new Set(given).size, returnWhen)
  for (const each of new Set(given)) {
    const note = (failed: boolean) => () => {
      done.add(each)
      ending.note(failed)
    }
    each.then(note(false), note(true))
  }
  const isEnough = returnWhen === 'FIRST_COMPLETED' ? done.size > 0 : done.size === ending.left
  const forget =
    limit === undefined || isEnough
      ? undefined
      : later(milliseconds(limit, { name: 'timeout' }), 'sleep', () => ending.end())
  await ending.promise
  forget?.()
  return [given.filter((each) => done.has(each)), given.filter((each) => !done.has(each))]
}

/** A wait that its owner ends; in a workflow it hears of cancels. */
class Ending {
  readonly promise: Promise<void>
  readonly end: () => void

  constructor() {
    const scope = current()
    let resolve!: () => void
    const plainly = () =>
      new Promise<void>((ended) => {
        resolve = ended
      })
    const wait = scope === undefined ? undefined : new Wait<void>(scope)
    this.promise = wait?.promise ?? plainly()
    this.end = wait === undefined ? resolve : () => wait.complete()
    wait?.begun()
  }
}

/** The end of a wait for several. */
class Waiting extends Ending {
  constructor(
    public left: number,
    private readonly when: ReturnWhen,
  ) {
    super()
    if (left === 0) this.end()
  }

  note(failed: boolean): void {
    this.left -= 1
    const first = this.when === 'FIRST_COMPLETED' || (this.when === 'FIRST_EXCEPTION' && failed)
    if (first || this.left === 0) this.end()
  }
}

/** How one of several has ended, and which it was. */
export type Completed<T> = PromiseSettledResult<T> & { readonly index: number }

/**
 * Iterates over the ends of branches as they come, in the order of events.
 *
 * If the wait for the next one is cancelled, CancelledError is thrown out of the loop. The branches
 * hear of the same cancel; ends that had come before are not looked at any more.
 *
 * @param branches - promises, or functions, which start in the order given.
 *
 * @example
 * for await (const end of asCompleted([fetch.run(1), fetch.run(2)])) \{
 *   if (end.status === 'fulfilled') console.log(end.index, end.value)
 * \}
 */
export function asCompleted<B>(branches: Iterable<B>): AsyncIterableIterator<Completed<Answer<B>>> {
  const ends: Completed<any>[] = []
  let ring: (() => void) | undefined
  let left = 0
  const note = (end: Completed<any>) => {
    ends.push(end)
    ring?.()
  }
  for (const [index, { promise }] of allStarted(branches).entries()) {
    left += 1
    promise.then(
      (value) => note({ index, status: 'fulfilled', value }),
      (reason: unknown) => note({ index, status: 'rejected', reason }),
    )
  }
  return (async function* () {
    for (; left > 0; left--) {
      while (ends.length === 0) {
        const waiting = new Ending()
        ring = waiting.end
        await waiting.promise // a cancel is told here when every branch has heard of it
      }
      yield ends.shift() as Completed<any>
    }
  })()
}

/**
 * Limits what a function does.
 *
 * When the time is up, all that the function waits for is cancelled, and TimeoutError is thrown
 * when it has cleaned up. In a workflow the limit is a durable timer, so it holds across restarts.
 * Outside workflows nothing can be cancelled; the function goes on then, and nobody waits for it.
 *
 * @param duration - the limit, in seconds or as "5m"; null for none.
 * @param fn - called at once.
 * @throws TimeoutError - the time was up.
 *
 * @example
 * await timeout('30s', () => charge.run(card))
 */
export function timeout<T>(
  duration: Duration | null | undefined,
  fn: () => T | PromiseLike<T>,
): Promise<Awaited<T>> {
  const limit = duration == null ? undefined : milliseconds(duration, { name: 'timeout' })
  let up: (() => void) | undefined
  const forget = limit === undefined ? undefined : later(limit, 'timeout', () => up?.())
  const member = started(fn)
  const ending = limited(member, limit ?? 0, forget, (act) => {
    up = act
  })
  return grouped(ending, [member])
}

async function limited(
  member: Member,
  limit: number,
  forget: (() => void) | undefined,
  onTime: (act: () => void) => void,
): Promise<any> {
  const cancels = new Cancels()
  let isUp = false
  const late = (error?: unknown) =>
    new TimeoutError(`it did not end within ${limit / 1000} s`, { cause: error })
  const unheard = new Promise<never>((_, reject) => {
    onTime(() => {
      isUp = true
      // What does not hear of it, for want of a wait of its own, is not waited for.
      if (!member.cancel('the time was up')) reject(late())
    })
  })
  try {
    return await Promise.race([member.promise, unheard])
  } catch (error) {
    throw isUp && error instanceof CancelledError && !cancels.came ? late(error) : error
  } finally {
    forget?.()
  }
}

/** Has something done later, durably in a workflow; answers how to take that back. */
function later(delayMs: number, name: string, act: () => void): () => void {
  const replay = current()?.replay
  if (replay === undefined) {
    const timer = setTimeout(act, delayMs)
    return () => clearTimeout(timer)
  }
  const sequence = replay.asked.timer(delayMs, name, act)
  return () => replay.asked.cancelTimer(sequence)
}

/**
 * Protects what it is given from the cancellation of whoever waits for it.
 *
 * A clean-up needs none: a workflow that is asked to stop hears of it once, as CancelledError
 * where it waits, and what it awaits afterwards, in `catch` and `finally`, runs as ever. This is
 * for work that is not to notice at all.
 *
 * @param branch - a promise of this package, or a function.
 *
 * @example
 * await shield(refund.run(order)) // goes on when the workflow is cancelled
 */
export function shield<T>(branch: Branch<T>): Promise<Awaited<T>> {
  const scope = current()
  const member = started(branch, true) // before it begins, or it would hear of what came before
  if (scope === undefined) return member.promise
  member.shield()
  return Wait.on(member.promise, scope)
}
