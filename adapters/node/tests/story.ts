/** Drives one workflow through the replay alone: no worker, no timers, no database. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StepCall, Turn } from '../src/_calls'
import { callable, DurableFunction, type Fn } from '../src/_functions'
import { type Claimed, type Command, type Event, Operation } from '../src/_operations'
import type { Kind, Named, Options } from '../src/_options'
import { Replay } from '../src/_replay'
import { MemoryEngine } from '../src/testing/_engine'
import { stopError } from '../src/testing/_ledger'
import { FINAL, type Json, type Row } from '../src/testing/_rows'

const MOMENT = 1000 // microseconds between two things that happen
const COMMAND_OF: Record<string, string> = {
  activity_scheduled: 'schedule',
  child_started: 'schedule',
  timer_started: 'start_timer',
  version_marked: 'mark_version',
  state_set: 'set_state',
}

function defined<A extends unknown[], T>(
  kind: Kind,
  name: string,
  plain: (...args: A) => T,
  options: Named<Options> = {},
): Fn<A, Awaited<T>, Options, T> {
  const place = { place: 'a test', isTopLevel: true, isExternal: false }
  const definition = new DurableFunction({ kind, plain, options: { ...options, name }, ...place })
  return callable(definition) as Fn<A, Awaited<T>, Options, T>
}

/** Functions that no registry knows, so that tests need no names of their own. */
export const workflow = <A extends unknown[], T>(
  plain: (...args: A) => T,
  options?: Named<Options>,
) => defined('workflow', options?.name ?? 'w', plain, options)

/** A child workflow that is only called. */
export const child = (name = 'child') => defined('workflow', name, async (_x: number) => 0 as any)

/** An activity whose result the test decides. */
export const activity = (name: string) => defined('activity', name, async (_x?: any) => 0 as any)

/** A job whose result the test decides. */
export const job = (name: string, options?: Named<Options>) =>
  defined('job', name, async (_x?: any) => 0 as any, options)

/** A step, which runs. */
export const step = <A extends unknown[], T>(name: string, plain: (...args: A) => T) =>
  defined('step', name, plain)

/** Runs a test in a workflow that stays in memory, and in one that is replayed from the start. */
export function bothWays(name: string, body: (cold: { cold: boolean }) => Promise<void>): void {
  test(`${name} (cold)`, () => body({ cold: true }))
  test(`${name} (warm)`, () => body({ cold: false }))
}

export interface StoryOptions {
  readonly args?: readonly unknown[]
  /** Replays from the start at every claim; otherwise the workflow stays in memory. */
  readonly cold?: boolean
  readonly start?: boolean
}

/** A workflow, and what happens to it, one thing after another. */
export class Story {
  readonly engine = new MemoryEngine(new Date('2026-01-01T00:00:00Z'))
  readonly turns: Turn[] = []
  readonly stepsRun: string[] = []
  readonly stepResults = new Map<string, unknown>()
  readonly row: Row
  replay: Replay | undefined
  readonly #worker
  readonly #cold: boolean

  constructor(
    public fn: Fn,
    { args = [], cold = true }: StoryOptions = {},
  ) {
    const started = { queues: ['*'], language: 'node' }
    this.#worker = this.engine.worker(
      this.engine.perform(Operation.START_WORKER, started).worker_id,
    )
    this.#cold = cold
    this.row = this.engine.add(fn.definition.execution(args))
  }

  /** A workflow that has run until it waits. */
  static async of(fn: Fn, options: StoryOptions = {}): Promise<Story> {
    const story = new Story(fn, options)
    return options.start === false ? story : await story.go()
  }

  // --- what it came to ---

  get status(): string {
    return this.row.status
  }

  get result(): any {
    assert.equal(this.row.status, 'completed', this.row.parked ?? JSON.stringify(this.row.error))
    return this.row.result
  }

  get error(): Json {
    assert.ok(['failed', 'cancelled'].includes(this.row.status), this.row.parked ?? this.row.status)
    return this.row.error as Json
  }

  get types(): string[] {
    return this.row.events.map(({ type }) => type)
  }

  get commands(): Command[] {
    return this.turns.flatMap(({ commands }) => commands)
  }

  /** The child of the present run, or of the latest run that has one. */
  child(sequence: number): Row {
    const found = this.row.children.filter((each) => each.sequence === sequence)
    found.sort((one, other) => other.parentRun - one.parentRun)
    return found[0] as Row
  }

  // --- what happens ---

  complete(sequence: number, result: unknown = null): Promise<Story> {
    return this.completeAll([[sequence, result]])
  }

  /** Several ends before the workflow is claimed again. */
  completeAll(results: Iterable<readonly [sequence: number, result: unknown]>): Promise<Story> {
    for (const [sequence, result] of results) {
      this.engine.end(this.#take(sequence), 'completed', { result })
    }
    return this.go()
  }

  fail(sequence: number, type = 'Error', message = 'no', attempts = 4): Promise<Story> {
    const row = this.#take(sequence)
    row.attempts = attempts
    this.engine.end(row, 'failed', { error: { type, message } })
    return this.go()
  }

  #take(sequence: number): Row {
    this.#moment()
    const row = this.child(sequence)
    this.engine.take(row, this.#worker)
    return row
  }

  signal(name: string, payload: unknown = null): Promise<Story> {
    this.#moment()
    const item = { id: this.row.id, name, payload }
    this.engine.perform(Operation.SEND_SIGNAL, { items: [item] })
    return this.go()
  }

  later(seconds: number): Promise<Story> {
    this.engine.advanceTo(this.engine.clock.now + Math.round(seconds * 1e6))
    return this.go()
  }

  cancel(reason = ''): Promise<Story> {
    this.stop(this.row, reason)
    return this.go()
  }

  /** Asks an execution to stop. */
  stop(row: Row, reason = ''): void {
    this.engine.cancel(row, stopError('Cancelled', reason))
  }

  /** The worker dies: the next claim starts in another process, so to say. */
  crash(): Story {
    this.replay?.discard()
    this.replay = undefined
    return this
  }

  /** The next run, from a copy of the history without what made it fail. */
  retry(): Promise<Story> {
    this.engine.perform(Operation.RETRY_EXECUTION, { items: [{ id: this.row.id }] })
    return this.go()
  }

  /** Unparks it, perhaps with other code. */
  resume(fn: Fn = this.fn): Promise<Story> {
    this.deploy(fn)
    this.engine.perform(Operation.RESUME_WORKFLOW, { items: [{ id: this.row.id }] })
    return this.go()
  }

  /** Other code from now on. */
  deploy(fn: Fn): Story {
    this.crash()
    this.fn = fn
    return this
  }

  /** Runs the workflow for as long as it can go on. */
  async go(): Promise<Story> {
    while (this.row.status === 'pending') {
      this.#moment()
      const claimed = this.engine.take(this.row, this.#worker) as Claimed
      if (this.#cold || this.replay?.claimed.run !== claimed.run) this.crash()
      this.replay ??= new Replay(claimed, this.fn.definition)
      const { replay } = this
      replay.recall = async () => this.row.events.slice(0, replay.position) as Event[]
      await this.replay.feed([...(claimed.events ?? [])])
      await this.#hold(this.replay, claimed)
    }
    return this
  }

  #moment(): void {
    this.engine.advanceTo(this.engine.clock.now + MOMENT)
  }

  async #hold(replay: Replay, claimed: Claimed): Promise<void> {
    let events: Json[] = []
    while (this.row.status === 'running') {
      const turn = replay.turn()
      this.turns.push(turn)
      if (turn.then === 'park') return this.#park(claimed, turn)
      const { id, lease } = claimed
      const { then, commands, result = null, error = null } = turn
      const about = { id, lease, position: replay.position, ...turn.nextRun }
      const item = { ...about, then, commands, events, result, error }
      const reply = this.engine.perform(Operation.ADVANCE_WORKFLOW, { items: [item] })
      events = []
      for (const each of turn.steps) events.push(await this.#runStep(replay, each))
      const [{ ok, error: refused }] = reply.results
      assert.equal(refused, undefined)
      if (ok.status !== 'running') break
      this.#moment()
      await replay.feed(ok.events)
    }
    if (FINAL.has(this.row.status)) this.crash()
  }

  #park({ id, lease }: Claimed, { message }: Turn): void {
    const release = { id, lease, reason: 'non_determinism', message }
    this.engine.perform(Operation.RELEASE, { items: [release] })
  }

  async #runStep(replay: Replay, { call, function: fn, args }: StepCall): Promise<Json> {
    replay.stepEnded(call.sequence)
    this.stepsRun.push(call.name)
    const outcome = { sequence: call.sequence, name: call.name }
    try {
      const payload = this.stepResults.get(call.name) ?? (await fn.plain(...args)) ?? null
      return { ...outcome, type: 'step_completed', payload }
    } catch (error) {
      const { name: type, message } = error as Error
      return { ...outcome, type: 'step_failed', payload: { type, message } }
    }
  }

  // --- what must hold of every history ---

  /** Every prefix of the history replays to its commands, and repeats none. */
  async checkPrefixes(): Promise<void> {
    const events = this.row.events as Event[]
    const recorded = commandsOf(events)
    for (let length = 1; length <= events.length; length++) {
      const replay = new Replay(this.row.claims.get(this.row.run) as Claimed, this.fn.definition)
      await replay.feed(events.slice(0, length))
      const turn = replay.turn()
      assert.notEqual(turn.then, 'park', turn.message)
      const known = commandsOf(events.slice(0, length))
      const given = turn.commands.filter(({ type }) => type !== 'cancel')
      for (const { sequence, type } of given) {
        const command = `${sequence} ${type}`
        assert.ok(!known.has(command), `${command} is repeated after ${length} events`)
        assert.ok(length === events.length || recorded.has(command), `${command} is new`)
      }
      replay.discard()
    }
  }
}

function commandsOf(events: readonly Event[]): Set<string> {
  const found = events.filter(({ type }) => type in COMMAND_OF)
  return new Set(found.map(({ sequence, type }) => `${sequence} ${COMMAND_OF[type]}`))
}

/** Everything's counterpart to a type that the test knows better. */
export const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n)
