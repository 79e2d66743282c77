/**
 * Replay: a workflow's history in, its commands out. Events are applied one at a time in order of
 * position, and after each the code runs until it waits again. Live and replayed runs take the
 * same path, so they cannot differ: nothing is applied before it has come back as an event.
 */

import { Asked } from './_asked'
import {
  asking,
  Call,
  type Callee,
  type ContinueAsNew,
  cancellationOf,
  childId,
  failureAt,
  failureOf,
  type Outcome,
  own,
  refuseOptions,
  scheduling,
  sequenceOf,
  type Turn,
} from './_calls'
import { Scope } from './_cancelling'
import { ChildHandle } from './_child_handles'
import { CancelledError, type NotDurableError, VersionError } from './_errors'
import type { Handle } from './_handles'
import { COMMANDS, History, idIn, sequenceIn } from './_history'
import { drained, never, notDurable, Slices, storage, strayed } from './_loop'
import type { Claimed, Event } from './_operations'
import { adapt, plain } from './_payload'
import { Signals } from './_signals'
import { came, goes } from './_watchdog'
import { exceptionToError } from './_wire_errors'
import { signalStep } from './_workflow'

// Shared and never changed: few workflows have anything to be told when they wait.
const NOTHING: (() => void)[] = []

/** One workflow in memory. */
export class Replay {
  readonly history: History
  readonly signals = new Signals(this)
  readonly asked: Asked
  /** Position of the last event that was applied. */
  position = 0
  /** The code is running, or about to, because an event was applied. */
  stepping = false
  discarded = false
  /** What ends the workflow whatever its code does. */
  fatal: unknown
  /** Told when code that was discarded goes on, which nothing durable brings about. */
  onStray = () => {}
  /** Answers the events that were applied so far, which are not kept. */
  recall: () => Promise<readonly Event[]> = async () => []
  /** For how long the code kept the event loop at a stretch, at most, in milliseconds. */
  longest = 0
  readonly #root: Scope
  #began = false
  #outcome: Outcome | undefined
  #onward: ContinueAsNew | undefined
  // Why the workflow was asked to stop, until its code is told.
  #cancelReason: string | undefined
  // The same, for as long as the workflow lives: whatever its code makes of it.
  #stopReason: string | undefined
  // The command whose failure was told last, for as long as the code runs on account of it; and
  // the same, where the code failed then: few errors that are thrown in a catch name their cause.
  #told: number | undefined
  #blamed: number | undefined
  #atRest = NOTHING
  #ahead = 0
  #order = 0

  constructor(
    /** What is known of the execution; a later claim of the same run replaces it. */
    public claimed: Claimed,
    readonly fn: Callee,
    /** Whether to note where each call is made. */
    readonly placed = false,
  ) {
    this.history = new History(claimed, placed)
    this.asked = new Asked(this)
    this.#root = new Scope(this)
  }

  // --- events in ---

  /**
   * Applies what is new of these events, and lets the code run after each.
   *
   * It resolves when the code waits. Never call it again before that.
   */
  async feed(events: readonly Event[]): Promise<void> {
    const isNew = (event: Event) => event.position > this.position
    const fresh = events.every(isNew) ? events : events.filter(isNew) // nearly always all are
    if (fresh.length === 0) return
    const isWhole = this.position === 0
    for (const event of fresh) this.history.index(event)
    this.#ahead = fresh.length
    const slices = new Slices()
    // By index, since an iterator that lives through an await makes an object a turn.
    for (let at = 0; at < fresh.length; at++) {
      const event = fresh[at] as Event
      this.#ahead -= 1
      await this.#step(event)
      const isOver = slices.over
      if (this.discarded) return
      if (this.history.fault !== undefined || this.fatal !== undefined) break
      if (isOver && this.#ahead > 0) await slices.turn()
    }
    if (this.#isLost) await this.#find(isWhole ? fresh : [...(await this.recall()), ...fresh])
    this.longest = Math.max(this.longest, slices.longest)
    this.position = (fresh.at(-1) as Event).position
    this.history.live = true // what comes from now on has never been seen before
  }

  /** Whether the code came to rest where it must not, after a call whose place was not noted. */
  get #isLost(): boolean {
    const { history, placed } = this
    if (placed || history.sequence === 0 || history.place !== undefined) return false
    return history.fault !== undefined || (this.#began && !this.over && this.#isStuck)
  }

  /** Finds the place of the last call, and with it what to tell, by going through it all again. */
  async #find(events: readonly Event[]): Promise<void> {
    const again = new Replay(this.claimed, this.fn, true)
    await again.feed(events)
    const { fault, place } = again.history
    again.discard()
    this.history.place = place
    if (this.history.fault !== undefined && fault !== undefined) this.history.fault = fault
  }

  /** Whether nothing will ever happen that the code waits for. */
  get #isStuck(): boolean {
    return !this.asked.isOpen && !this.signals.awaited
  }

  /** Applies an event and lets the code run until it waits. */
  async #step(event: Event): Promise<void> {
    if (this.fatal !== undefined) return this.history.happened(event)
    this.stepping = true
    const place = goes(this.claimed.name, this.claimed.id)
    try {
      if (this.#apply(event)) {
        await drained()
        if (this.#atRest !== NOTHING) await this.#tell()
      }
      const reason = this.#cancelReason
      if (reason !== undefined && this.#began && this.history.fault === undefined) {
        this.#cancelReason = undefined
        if (!this.over && this.#root.cancel(reason)) {
          await drained()
          await this.#tell()
        }
      }
    } finally {
      came(place)
      this.stepping = false
      this.#told = undefined
    }
  }

  /** Tells the code what it is to hear when it waits, one thing after another. */
  async #tell(): Promise<void> {
    for (const act of this.#atRest) {
      if (this.over || this.discarded) break
      act()
      await drained()
    }
    this.#atRest = NOTHING
  }

  /** Has something done when the code waits, in its turn. */
  atRest(act: () => void): void {
    if (this.#atRest === NOTHING) this.#atRest = [act]
    else this.#atRest.push(act)
  }

  /** Resolves when all has been told that there is to tell now. */
  rested(): Promise<void> {
    return new Promise((resolve) => this.atRest(resolve))
  }

  /** Takes an event in; answers whether code may run on account of it. */
  #apply(event: Event): boolean {
    this.history.happened(event)
    if (event.type in COMMANDS && this.history.recorded.has(sequenceIn(event))) {
      this.#missing(event)
      return false
    }
    if (!this.over) return this.#handle(event)
    if (event.type === 'signal_received') {
      this.signals.keep(event.name ?? '', event.payload, event.position)
    }
    return false // the rest is nothing to code that has ended
  }

  #handle(event: Event): boolean {
    switch (event.type) {
      case 'started':
        return this.#started()
      case 'child_started':
        return this.#childStarted(event)
      case 'activity_completed':
      case 'child_completed':
      case 'step_completed':
        return this.#completed(event)
      case 'activity_failed':
      case 'child_failed':
      case 'step_failed':
        return this.#failed(event)
      case 'activity_cancelled':
      case 'child_cancelled':
        return this.#cancelled(event)
      case 'timer_fired':
        return this.asked.fired(sequenceIn(event))
      case 'timer_cancelled':
        this.asked.timers.delete(sequenceIn(event))
        return false
      case 'signal_received':
        return this.signals.received(event.name ?? '', event.payload, event.position)
      case 'cancel_requested':
        return this.#cancelRequested(event)
      default:
        return false
    }
  }

  #started(): boolean {
    this.#began = true
    const reason = this.#cancelReason
    this.#cancelReason = undefined
    if (reason === undefined) return this.#begin()
    this.#outcome = { error: new CancelledError(reason) } // before any of its code has run
    return false
  }

  #begin(): boolean {
    const { claimed, fn } = this
    try {
      const args = fn.adapted(claimed.args, claimed.kwargs)
      const { plain: code } = fn
      const answer: unknown = storage.run(this.#root, () => code(...args))
      Promise.resolve(answer).then(
        (value) => this.#ended({ value }),
        (error: unknown) => this.#ended({ error }),
      )
    } catch (error) {
      this.#ended({ error })
    }
    return true
  }

  #ended(outcome: Outcome): void {
    if (this.discarded) this.onStray()
    else if (!this.stepping) this.strayed()
    if (this.discarded || this.over) return
    this.#outcome = outcome
    if ('error' in outcome) this.#blamed = this.#told
  }

  #childStarted(event: Event): boolean {
    const call = this.asked.pending.get(sequenceIn(event))
    if (call !== undefined) call.id = idIn(event)
    return false
  }

  #completed(event: Event): boolean {
    const call = this.asked.taken(sequenceIn(event))
    try {
      call?.complete(adapt(event.payload ?? null, 'result'))
    } catch (error) {
      call?.fail(error)
    }
    return call !== undefined
  }

  #failed(event: Event): boolean {
    const call = this.asked.taken(sequenceIn(event))
    if (call === undefined) return false
    this.#told = call.sequence
    call.fail(failureAt(failureOf(call, event.payload), call.sequence))
    return true
  }

  #cancelled(event: Event): boolean {
    const call = this.asked.taken(sequenceIn(event))
    call?.fail(cancellationOf(call, event.payload))
    return call !== undefined
  }

  #cancelRequested(event: Event): boolean {
    const told = event.payload as { readonly message?: string } | null | undefined
    this.#stopReason = told?.message || 'the workflow was asked to stop'
    this.#cancelReason = this.#stopReason
    return false
  }

  // --- commands out ---

  /** Answers what the code asks for now that it waits; the commands are handed over. */
  turn(): Turn {
    const { fault } = this.history
    if (fault !== undefined) return asking('park', { message: fault.message })
    if (this.discarded) return asking('suspend')
    if (this.fatal !== undefined) return this.#failing(this.fatal)
    if (!this.#began) return asking('suspend')
    if (this.over) return this.#ending()
    const steps = this.asked.stepsToRun()
    if (this.#isStuck) {
      return this.#failing(notDurable(`${this.history.place ?? ''}`))
    }
    const then = this.asked.stepsRunning.size > 0 ? 'keep' : 'suspend'
    return asking(then, { commands: this.asked.handedOver(), steps })
  }

  #ending(): Turn {
    const [first] = this.history.recorded.values().sort((a, b) => a.position - b.position)
    if (first !== undefined && !this.#isVersionRefused) {
      this.#missing(first)
      return asking('park', { message: this.history.fault?.message ?? '' })
    }
    const outcome = this.#outcome ?? {}
    // It ends cancelled even if the code swallowed that, and says why.
    if (this.#stopReason !== undefined && !('error' in outcome)) {
      return this.#failing(new CancelledError(this.#stopReason))
    }
    if (this.#onward !== undefined) {
      const nextRun = { ...this.#onward, kwargs: {}, carry: this.signals.untaken }
      return asking('continue', { commands: this.asked.handedOver(), nextRun })
    }
    if ('error' in outcome) return this.#failing(outcome.error, this.#blamed)
    try {
      const result = plain('value' in outcome ? outcome.value : null, 'result')
      return asking('complete', { commands: this.asked.handedOver(), result })
    } catch (error) {
      return this.#failing(error) // a toJSON of the user's may have thrown it
    }
  }

  #failing(error: unknown, blamed?: number): Turn {
    const wire = exceptionToError(error)
    const sequence = sequenceOf(error) ?? blamed
    const told = sequence === undefined ? wire : { ...wire, sequence }
    return asking('fail', { commands: this.asked.handedOver(), error: told })
  }

  /** Notes that the outcome of a step is on its way into the history. */
  stepEnded(sequence: number): void {
    this.asked.stepsRunning.delete(sequence)
  }

  /** Forgets the workflow without running its code: its promises never settle. */
  discard(): void {
    this.discarded = true
    this.#root.drop()
    this.#atRest = NOTHING
    this.signals.drop()
    this.asked.drop()
    this.#outcome = undefined
  }

  // --- determinism ---

  /** Whether the code has ended: nothing of it counts any more. */
  get over(): boolean {
    return this.#outcome !== undefined || this.#onward !== undefined
  }

  /** Notes that the code has not asked for what history recorded next. */
  #missing(event: Event): void {
    if (this.#isVersionRefused) return
    if (this.over || !this.#began) this.history.mismatch(event, 'nothing, it ended')
    else this.history.mismatch(event, 'nothing, it waits', this.history.place)
  }

  /** Whether the code ended for want of the recorded version, and not for want of commands. */
  get #isVersionRefused(): boolean {
    const outcome = this.#outcome
    return outcome !== undefined && 'error' in outcome && outcome.error instanceof VersionError
  }

  /** Notes that the code runs on account of what no history tells of, and answers its error. */
  strayed(): NotDurableError {
    const error = strayed()
    this.fatal ??= error
    return error
  }

  // --- what workflow code calls ---

  /** Ends this run and starts the next with other arguments. */
  continueAsNew(args: readonly unknown[]): Promise<never> {
    const following = this.fn.arguments(args)
    if (!this.over) this.#onward = { args: following }
    return never()
  }

  /** A durable call: `.run()` inside a workflow. */
  call(fn: Callee, args: readonly unknown[]): Promise<any> {
    if (this.over) return never()
    return fn.kind === 'step'
      ? this.#stepCall(fn, args)
      : this.#schedule(this.scope, fn, args).promise
  }

  #stepCall(fn: Callee, args: readonly unknown[]): Promise<unknown> {
    const { sequence, recorded } = this.history.next('step', fn.functionName)
    const call = this.asked.expect(this.scope, sequence, 'step', fn)
    if (recorded === undefined && this.history.fault === undefined) {
      const given = args.length === 0 ? [] : own([...args])
      this.asked.steps.set(sequence, { call, function: fn, args: given })
    }
    return call.begun().promise
  }

  /** A child without waiting for it: `.queue()` inside a workflow. */
  start(fn: Callee, args: readonly unknown[]): Promise<Handle<any>> {
    if (fn.kind === 'step') {
      throw new TypeError(
        `${fn.functionName} is a step, which runs inside its workflow and cannot be queued; await ` +
          '.run(), or make it an activity',
      )
    }
    if (this.over) return never()
    // In a scope of its own: nobody waits for it, so no cancel of a wait reaches it.
    const apart = new Scope(this, this.scope, true)
    const call = this.#schedule(apart, fn, args, true)
    return Promise.resolve(new ChildHandle(call))
  }

  #schedule(scope: Scope, fn: Callee, args: readonly unknown[], named = false): Call {
    refuseOptions(fn)
    const positional = fn.arguments(args)
    const kind = fn.kind === 'workflow' ? 'child' : 'activity'
    const { sequence, recorded } = this.history.next(kind, fn.functionName)
    const call = this.asked.expect(scope, sequence, kind, fn)
    if (recorded !== undefined) {
      call.id = idIn(recorded)
      return call.begun()
    }
    const command = scheduling(fn, sequence, positional, this.claimed.queue)
    if (named) {
      command.execution.id = childId(this.claimed, sequence, this.history.timeMs())
      call.id = command.execution.id
    }
    this.asked.emit(command)
    return call.begun()
  }

  /** The code cancelled a call. */
  abandoned(call: Call): void {
    if (this.discarded || this.over) return
    if (call.kind === 'signal') this.signals.abandoned(call)
    else this.asked.abandoned(call)
  }

  /** A durable sleep; one of 0 is recorded as well. */
  sleep(delayMs: number): Promise<void> {
    if (this.over) return never()
    const call = new Call<void>(this.scope, 'timer', 'sleep')
    call.sequence = this.asked.timer(delayMs, 'sleep', () => call.complete())
    return call.begun().promise
  }

  /** A wait for the next signal of a name. */
  waitForSignal(name: string, delayMs: number | undefined): Promise<any> {
    if (this.over) return never()
    return this.signals.wait(this.scope, name, delayMs).begun().promise
  }

  /** A signal to another workflow, as a step whose key makes a repetition harmless. */
  sendSignal(id: string, name: string, payload: unknown, key?: string): Promise<any> {
    const { origin } = this.history
    const once = key || `${this.claimed.id}:${origin}:${this.history.nextSequence()}`
    return this.call(signalStep, [id, name, plain(payload ?? null, 'payload'), once])
  }

  /** Whether history is still ahead of the code. */
  isReplaying(): boolean {
    const { history, claimed } = this
    if (history.live || history.goesOn) return !history.live
    // Events that came while nobody held the workflow have not been met by any code.
    return claimed.seen ? history.length <= claimed.seen : this.#ahead > 0
  }

  /** The scope whose code is running. */
  get scope(): Scope {
    const scope = storage.getStore()
    return scope?.replay === this ? scope : this.#root
  }

  /** A number for the next wait, in the order in which waits begin. */
  order(): number {
    return ++this.#order
  }
}
