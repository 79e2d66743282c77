/** Two worlds with the same rules: the library on PostgreSQL, and the engine in memory. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Engine } from '../src/_engine'
import { WorkflowsError } from '../src/_errors'
import { Operation } from '../src/_operations'
import { MemoryEngine } from '../src/testing/_engine'
import type { Json } from '../src/testing/_rows'

export type { Json } from '../src/testing/_rows'

const PATIENCE_MS = 30_000
const TOLD = [
  'kind',
  'name',
  'status',
  'run',
  'priority',
  'attempts',
  'failures',
  'crashes',
  'releases',
]
const PAYLOADS = ['result', 'error', 'state', 'progress', 'sequence', 'parked', 'args']
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What carries out operations. */
export interface Below {
  /** Performs an operation. */
  call(operation: Operation, request: object): Promise<any>
  /** Lets some time go by, because something is not there yet. */
  pause(): Promise<void>
}

/** The engine in memory. Time goes to what is due next. */
export class Memory implements Below {
  readonly engine = new MemoryEngine(new Date('2026-01-01T00:00:00Z'))

  constructor(maxHistory = 50_000) {
    this.engine.maxHistory = maxHistory
  }

  async call(operation: Operation, request: object): Promise<any> {
    return this.engine.perform(operation, request)
  }

  async pause(): Promise<void> {
    const due = this.engine.agenda.next()
    assert.ok(due, 'nothing is due')
    this.engine.advanceTo(due.at)
  }
}

/** The library on PostgreSQL. */
export class Library implements Below {
  readonly #deadline = performance.now() + PATIENCE_MS

  constructor(readonly engine: Engine) {}

  call(operation: Operation, request: object): Promise<any> {
    return this.engine.call(operation, request)
  }

  async pause(): Promise<void> {
    assert.ok(performance.now() < this.#deadline, 'it did not come true in time')
    await pause(10)
  }
}

/** What a scenario does, in either of them, and what came of it. */
export class World {
  readonly queue = `contract-${randomUUID()}`
  readonly names = new Map<string, string>()
  workerId = ''

  constructor(readonly below: Below) {}

  call(operation: Operation, request: object): Promise<any> {
    return this.below.call(operation, request)
  }

  /** Performs an operation on one item, and answers its "ok", or the code of its error. */
  async one(operation: Operation, item: Json): Promise<Json> {
    const { results } = await this.call(operation, { items: [item] })
    const [{ ok, error }] = results
    return ok ?? { code: error.code }
  }

  // --- what a scenario does ---

  async worker({ language = 'node', ...options }: Json = {}): Promise<string> {
    const reply = await this.call(Operation.START_WORKER, {
      queues: [this.queue],
      concurrency: 100,
      language,
      poll_interval_ms: 50,
      ...options,
    })
    return reply.worker_id
  }

  async create(kind: string, name: string, made: Json = {}): Promise<string> {
    return (await this.created(kind, name, made)).id
  }

  async created(kind: string, name: string, made: Json = {}): Promise<Json> {
    const item = { kind, name, queue: this.queue, ...made }
    const { results } = await this.call(Operation.CREATE_EXECUTION, { items: [item] })
    this.#known(results[0].id)
    return results[0]
  }

  #known(id: string): void {
    if (!this.names.has(id)) this.names.set(id, `#${this.names.size + 1}`)
  }

  /** Names an execution that the scenario came to know otherwise. */
  name(id: string): void {
    this.#known(id)
  }

  /** Claims n executions, one after another, however long they take to come. */
  async claims(n: number, worker?: string): Promise<Json[]> {
    const claimed: Json[] = []
    while (claimed.length < n) {
      const found = await this.claimNow(n - claimed.length, worker)
      claimed.push(...found)
      if (found.length === 0) await this.below.pause()
    }
    return claimed
  }

  async claim(worker?: string): Promise<Json> {
    const [held] = await this.claims(1, worker)
    return held as Json
  }

  /** Claims two executions. */
  async claimPair(): Promise<[Json, Json]> {
    const [first, second] = await this.claims(2)
    return [first as Json, second as Json]
  }

  /** Claims what is there at this moment. */
  async claimNow(n = 1, worker?: string): Promise<Json[]> {
    this.workerId ||= worker === undefined ? await this.worker() : ''
    const request = { worker_id: worker ?? this.workerId, n }
    const { executions } = await this.call(Operation.CLAIM, request)
    for (const claimed of executions) this.#known(claimed.id)
    return executions
  }

  /** Advances a workflow from where its holder stands, and moves the holder on. */
  async advance(held: Json, then: string, commands: Json[] = [], fields: Json = {}): Promise<Json> {
    const { id, lease, position } = held
    const item = { id, lease, position, then, commands, ...fields }
    const answer = await this.one(Operation.ADVANCE_WORKFLOW, item)
    held.position = answer.position ?? held.position
    return answer
  }

  complete({ id, lease }: Json, result: unknown = null): Promise<Json> {
    return this.one(Operation.COMPLETE_EXECUTION, { id, lease, result })
  }

  fail({ id, lease }: Json, type = 'TypeError', more: Json = {}): Promise<Json> {
    const error = { type, message: 'no', ...more }
    return this.one(Operation.FAIL_EXECUTION, { id, lease, error })
  }

  release({ id, lease }: Json, reason: string, more: Json = {}): Promise<Json> {
    return this.one(Operation.RELEASE, { id, lease, reason, ...more })
  }

  signal(id: string, name: string, payload: unknown = null, more: Json = {}): Promise<Json> {
    return this.one(Operation.SEND_SIGNAL, { id, name, payload, ...more })
  }

  cancel(id: string): Promise<Json> {
    return this.one(Operation.CANCEL_EXECUTION, { id })
  }

  get(id: string): Promise<Json> {
    return this.call(Operation.GET_EXECUTION, { id })
  }

  /** Waits until an execution is as it should be. */
  async until(id: string, condition: (found: Json) => boolean): Promise<Json> {
    let found = await this.get(id)
    while (!condition(found)) {
      await this.below.pause()
      found = await this.get(id)
    }
    return found
  }

  ended(id: string): Promise<Json> {
    const ends = ['completed', 'failed', 'cancelled']
    return this.until(id, (found) => ends.includes(found.status))
  }

  /** Waits for what the worker is told. */
  async notices(): Promise<Json[]> {
    for (;;) {
      const { notices } = await this.call(Operation.PULL_EVENTS, { worker_id: this.workerId })
      if (notices.length > 0) return notices
      await this.below.pause()
    }
  }

  async refused(operation: Operation, request: object): Promise<string> {
    try {
      await this.call(operation, request)
    } catch (error) {
      if (error instanceof WorkflowsError) return error.code
      throw error
    }
    return 'it was taken'
  }

  // --- what came of it ---

  /** Answers everything that can be seen of all executions, without ids and times. */
  async story(): Promise<Json[]> {
    const told: Json[] = []
    for (const id of [...this.names.keys()]) {
      const found = await this.get(id)
      const entry: Json = {}
      for (const field of TOLD) entry[field] = found[field] ?? null
      for (const field of PAYLOADS) entry[field] = this.#plain(found[field] ?? null)
      entry.parent = this.names.get(found.parent_id) ?? null
      entry.root = this.names.get(found.root_id) ?? null
      entry.asked = 'cancel_requested_at' in found
      entry.runs = []
      for (let run = 1; run <= found.run; run++) entry.runs.push(await this.#history(id, run))
      told.push(entry)
    }
    return told
  }

  async #history(id: string, run: number): Promise<Json[]> {
    return this.events((await this.call(Operation.GET_HISTORY, { id, run })).events)
  }

  events(events: readonly Json[]): Json[] {
    return events.map((event) => this.#event(event))
  }

  #event({ at, ...told }: Json): Json {
    assert.match(at, /Z$/)
    if (told.type === 'started') told.payload = told.payload.language
    return this.#plain(told)
  }

  #plain(value: any): any {
    if (Array.isArray(value)) return value.map((each) => this.#plain(each))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([name, each]) => [name, this.#plain(each)]),
      )
    }
    if (typeof value !== 'string') return value
    return this.names.get(value) ?? (ID.test(value) ? 'an id' : value)
  }
}

export type Scenario = (world: World) => Promise<unknown>

/** The scenarios, by name; some have a bound for the length of histories. */
export const SCENARIOS = new Map<string, { play: Scenario; maxHistory?: number }>()

/** Adds a scenario. */
export function scenario(name: string, play: Scenario, maxHistory?: number): void {
  assert.ok(!SCENARIOS.has(name), `two scenarios are called ${name}`)
  SCENARIOS.set(name, { play, ...(maxHistory !== undefined && { maxHistory }) })
}

/** A command that starts something. */
export function schedule(sequence: number, name: string, more: Json): Json {
  const { close_policy, kind = 'activity', ...made } = more
  const policy = close_policy === undefined ? {} : { close_policy }
  return { type: 'schedule', sequence, execution: { kind, name, ...made }, ...policy }
}

/** A command that starts a timer. */
export function timer(sequence: number, delay_ms: number, name = 'sleep'): Json {
  return { type: 'start_timer', sequence, name, delay_ms }
}

/** A command that cancels. */
export function stop(sequence: number): Json {
  return { type: 'cancel', sequence }
}
