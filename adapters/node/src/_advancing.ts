/** A workflow that a worker holds: its code is advanced, one write at a time. */

import { Attempt, type Ended, wireError } from './_attempts'
import type { StepCall, Turn } from './_calls'
import { WorkflowsError } from './_errors'
import { Held, type Home, isOver } from './_executions'
import { called, tell } from './_failures'
import { Few } from './_few'
import type { DurableFunction } from './_functions'
import { log } from './_log'
import {
  type Advance,
  type Advanced,
  type Claimed,
  type Event,
  type Notice,
  Operation,
  type ReleaseReason,
  type StepEvent,
} from './_operations'
import { Replay } from './_replay'
import { runStep, unheard } from './_steps'
import type { Strays } from './_strays'

const LONG = 1000 // of workflow code between two turns of the event loop, in milliseconds

/** What a workflow needs of its worker beside what every execution does. */
export interface WorkflowHome extends Home {
  readonly strays: Strays
  /** Answers the workflow as this worker suspended it, if it still is in memory and valid. */
  remembered(claimed: Claimed): Replay | undefined
  /** The workflow waits for an event, and is no longer held. */
  suspended(held: HeldWorkflow): void
  /** Reads the events that a claim left out. */
  history(claimed: Claimed): Promise<Event[]>
}

/** A workflow: its code is advanced, one write at a time, and its steps run here. */
export class HeldWorkflow extends Held<WorkflowHome> {
  replay: Replay | undefined
  readonly steps = new Few<Attempt>()
  #outcomes: StepEvent[] = []
  #inFlight = false
  #isFeeding = false
  /** An answer is awaited: of news, or that it has started at all. */
  #news: boolean
  #arrived: (() => void)[] = []
  #isGone = false
  // Made for the next claim of it, if that comes before this one has let go.
  #gone: Promise<void> | undefined
  #letGo: (() => void) | undefined

  constructor(
    home: WorkflowHome,
    claimed: Claimed,
    fn: DurableFunction | undefined,
    /** The claim before, if this worker has not let go of it yet. */
    private readonly before?: HeldWorkflow,
  ) {
    super(home, claimed, fn)
    this.#news = claimed.early ?? false
  }

  /** Resolves when the workflow has been let go; the next claim of it waits for that. */
  gone(): Promise<void> {
    this.#gone ??= new Promise((resolve) => {
      if (this.#isGone) resolve()
      else this.#letGo = resolve
    })
    return this.#gone
  }

  #leave(): void {
    this.#isGone = true
    this.#letGo?.()
  }

  protected start(fn: DurableFunction): Promise<void> {
    if (this.before === undefined) return this.#resume(fn)
    return this.before.gone().then(() => this.#resume(fn))
  }

  async #resume(fn: DurableFunction): Promise<void> {
    if (this.lost) return
    this.replay = this.home.remembered(this.claimed)
    let events = this.claimed.events ?? []
    if (this.replay === undefined && this.claimed.after) {
      const older = await this.#read()
      if (older === undefined || this.lost) return
      events = [...older, ...events]
    }
    if (this.replay === undefined) {
      this.replay = new Replay(this.claimed, fn)
      this.home.strays.watch(this.replay)
      recalling(this.replay, this.home)
    }
    await this.#goOn(this.replay, events)
  }

  /** Fetches what the claim left out for a worker that has forgotten the workflow since. */
  async #read(): Promise<Event[] | undefined> {
    try {
      return await this.home.history(this.claimed)
    } catch (error) {
      if (!(error instanceof WorkflowsError)) throw error
      if (!this.lost) {
        log.error(`the history of ${this.id} could not be read: ${error.message}`)
        this.release('drain')
      }
      return undefined
    }
  }

  /** Applies events, and sends what the code asks for then. */
  async #goOn(replay: Replay, events: readonly Event[]): Promise<void> {
    await this.#feed(replay, events)
    if (this.replay !== replay) return
    this.#stopSteps(replay)
    if (this.#arrived.length > 0) {
      const arrived = this.#arrived
      this.#arrived = []
      for (const each of arrived) each()
    }
    this.#advance()
  }

  /** Never two at a time: what comes meanwhile waits until the code has been told of these. */
  async #feed(replay: Replay, events: readonly Event[]): Promise<void> {
    this.#isFeeding = true
    try {
      await replay.feed(events)
    } finally {
      this.#isFeeding = false
      if (this.replay !== replay) replay.discard() // it was dropped meanwhile
    }
    if (replay.longest > LONG) {
      log.warn(
        `the code of ${called(this.claimed)} held the event loop for ` +
          `${(replay.longest / 1000).toFixed(1)} s, and all else on this worker with it; ` +
          'what blocks or computes for long belongs in an activity or a step',
      )
      replay.longest = 0
    }
  }

  /** Advances from where nobody else would notice that the adapter failed. */
  #advanceSafely(): void {
    try {
      this.#advance()
    } catch (error) {
      this.broken('advance', error)
    }
  }

  /** Sends what the code asks for, unless there is nothing to send or an answer is awaited. */
  #advance(): void {
    const { replay } = this
    if (this.#inFlight || this.#isFeeding || this.lost || replay === undefined) return
    const turn = replay.turn()
    this.#stopSteps(replay)
    const hasNothing = turn.commands.length === 0 && this.#outcomes.length === 0 && !this.#news
    if (turn.then === 'park') {
      log.error(turn.message)
      this.release('non_determinism', turn.message)
    } else if (turn.then === 'keep' && hasNothing) this.#startSteps(replay, turn.steps)
    else this.#send(replay, turn)
  }

  #send(replay: Replay, turn: Turn): void {
    const { id, lease } = this
    // 'park' never comes here: it is a release
    const then = turn.then as Advance['then']
    const item: Advance = { id, lease, position: replay.position, then }
    if (then === 'complete') item.result = turn.result as Advance['result']
    else if (then === 'fail') item.error = turn.error as Advance['error']
    else if (then === 'continue') Object.assign(item, turn.nextRun)
    if (turn.commands.length > 0) item.commands = turn.commands
    if (this.#outcomes.length > 0) {
      item.events = this.#outcomes
      this.#outcomes = []
    }
    if (then === 'fail') tell(called(this.claimed), turn.error ?? {})
    this.#inFlight = true
    this.#news = false
    this.home.outbox.add(Operation.ADVANCE_WORKFLOW, item, (ok, error) =>
      this.#answered(turn, ok, error),
    )
  }

  #answered(turn: Turn, ok: Advanced | undefined, error?: WorkflowsError): void {
    this.#inFlight = false
    const { replay } = this
    if (replay === undefined || this.lost) this.ended()
    else if (ok === undefined) this.#refused(replay, turn, error)
    else if (ok.status === 'suspended') void this.#suspended(replay, ok.events ?? [])
    else if (ok.status !== 'running') this.ended()
    else {
      this.#startSteps(replay, turn.steps)
      this.#goOn(replay, ok.events ?? []).catch((failure: unknown) =>
        this.broken('advance', failure),
      )
    }
  }

  async #suspended(replay: Replay, events: readonly Event[]): Promise<void> {
    this.lost = true
    try {
      await this.#feed(replay, events) // what it asked for: the next claim leaves it out
    } catch (error) {
      log.error(`workflow ${this.id} is not kept in memory`, error)
      this.drop()
    }
    this.home.suspended(this)
    this.#leave()
  }

  /** A command or a result that the engine does not take is the workflow's failure. */
  #refused(replay: Replay, turn: Turn, error?: WorkflowsError): void {
    if (error === undefined || isOver(error) || turn.then === 'fail') {
      this.ended(error)
      return
    }
    // Its commands are gone, so the code must not go on, whatever comes in before the end.
    replay.fatal = error
    const wire = { ...wireError(error), non_retryable: true }
    this.#send(replay, { then: 'fail', commands: [], steps: [], message: '', error: wire })
  }

  /** Whether something will come of it by itself: it waits for nothing but its steps. */
  get isBusy(): boolean {
    return this.#isFeeding || this.#inFlight || this.steps.size === 0
  }

  // --- steps ---

  #startSteps(replay: Replay, steps: readonly StepCall[]): void {
    for (const step of steps) {
      if (step.call.done) continue
      const attempt = new Attempt(this.claimed, unheard)
      this.steps.set(step.call.sequence, attempt)
      runStep(this.home.bodies, step, attempt)
        .then((ended) => {
          if (!this.#isFeeding) this.#stepEnded(replay, step, attempt, ended)
          else this.#arrived.push(() => this.#stepEnded(replay, step, attempt, ended))
        })
        .catch((error: unknown) => this.broken('step', error))
    }
  }

  #stepEnded(replay: Replay, step: StepCall, attempt: Attempt, [ok, payload]: Ended): void {
    const { sequence, name } = step.call
    if (this.steps.get(sequence) !== attempt) return // nobody waits for it any more
    this.steps.delete(sequence)
    if (attempt.isGivenUp || this.lost) return
    replay.stepEnded(sequence)
    const type = ok ? 'step_completed' : 'step_failed'
    this.#outcomes.push({ type, sequence, name, payload: payload as StepEvent['payload'] })
    this.home.outbox.before(() => this.#advanceSafely()) // with those that end in this moment
  }

  /** Stops the bodies of steps that the code has cancelled. */
  #stopSteps(replay: Replay): void {
    if (replay.asked.stepsDropped.length === 0) return
    for (const sequence of replay.asked.stepsDropped.splice(0)) {
      this.steps.get(sequence)?.stop('cancel')
      this.steps.delete(sequence)
    }
  }

  // --- the end ---

  /** Drops a lost workflow, or fetches its new events. */
  notice(notice: Partial<Notice>): void {
    if (notice.lost) {
      log.warn(
        `the lease of workflow ${this.claimed.name} ${this.id} was lost; it goes on elsewhere`,
      )
      this.ended()
      return
    }
    this.#news = true
    this.#advanceSafely()
  }

  /** Stops the steps. */
  interrupt(): void {
    this.ended()
  }

  override release(reason: ReleaseReason, message = ''): void {
    this.drop()
    super.release(reason, message)
  }

  protected override ended(error?: WorkflowsError): void {
    this.drop()
    super.ended(error)
    this.#leave()
  }

  /** Forgets the code and stops the bodies of its steps. */
  drop(): void {
    for (const attempt of this.steps.values()) attempt.stop('lost')
    this.steps.clear()
    const { replay } = this
    this.replay = undefined
    if (!replay?.stepping) replay?.discard() // otherwise when the code waits again
  }
}

/** Lets a replay read what it was told of; one that is warm must not keep claims alive by that. */
function recalling(replay: Replay, home: WorkflowHome): void {
  replay.recall = () => home.history({ ...replay.claimed, after: replay.position })
}
