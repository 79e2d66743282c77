/** The life of an environment: its worker, its time, and what they carry out. */

import { AsyncLocalStorage } from 'node:async_hooks'
import type { Client } from '../_client'
import { NonDeterminismError } from '../_errors'
import type { DurableFunction } from '../_functions'
import type { WaitOptions } from '../_handles'
import { type Execution, Operation } from '../_operations'
import { ResultTimeout } from '../_outcomes'
import type { Registry } from '../_registry'
import { seconds } from '../_settings'
import { faultToException } from '../_wire_errors'
import type { Forget } from './_bodies'
import { CallLog } from './_calls'
import { EnvironmentClient } from './_client'
import { instant } from './_clock'
import { Doubles, Functions } from './_doubles'
import { MemoryEngine } from './_engine'
import { watch } from './_outside'
import { type Prove, prove } from './_proof'
import { Fault, type Json, type Row } from './_rows'
import { Skipping } from './_skipping'
import { installTimers } from './_timers'
import { Troubles } from './_troubles'
import { type Host, Waiting } from './_waiting'
import { Waits } from './_waits'
import { EnvironmentWorker } from './_worker'

const HEARTBEAT_TIMEOUT_MS = 10_000
const WARM = 100_000 // suspended workflows that stay in memory

// Where no test has put anything: as a worker's process would be.
const clean = AsyncLocalStorage.snapshot()

/** How an environment was asked to be. Durations are in milliseconds. */
export interface Setup {
  readonly start: Date
  readonly seed: number
  readonly cold: boolean | undefined
  readonly prove: Prove
  readonly maxRuns: number
  readonly concurrency: number
  readonly queues: readonly string[]
  readonly functions: Registry
  readonly timeLimit: number
  readonly patience: number
}

/** Runs a worker on the engine in memory, and skips time. */
export class Runner implements Host {
  readonly setup: Setup
  readonly engine: MemoryEngine
  readonly doubles = new Doubles()
  readonly functions: Functions
  readonly calls: CallLog
  readonly waits: Waits
  readonly waiting: Waiting
  readonly client: Client
  isClosed = false
  #worker: EnvironmentWorker | undefined
  #starting: Promise<unknown> = Promise.resolve()
  #skipping: Skipping | undefined
  #unwatch: Forget = () => {}
  readonly #proven = new Map<string, { length: number; error: unknown }>()

  constructor(setup: Setup) {
    this.setup = setup
    this.engine = new MemoryEngine(setup.start, setup.seed)
    this.functions = new Functions(setup.functions, this.doubles)
    this.calls = new CallLog(() => this.now())
    this.waits = new Waits(this.engine, (kind, name) => this.functions.find(kind, name))
    const troubles = new Troubles(this.engine, this.functions, setup.maxRuns)
    this.waiting = new Waiting(this, this.engine, troubles, this.waits, setup.timeLimit)
    this.client = new EnvironmentClient(this, true)
  }

  // --- life ---

  /** Starts the worker, and lets time go on when somebody waits. */
  async open(): Promise<void> {
    installTimers()
    this.#unwatch = watch()
    this.#startWorker()
    await this.#starting
    const { engine, waiting, setup } = this
    this.#skipping = new Skipping(engine, waiting, () => this.#worker, setup.patience)
  }

  /** Ends the worker: what still runs is told to stop, what is suspended is forgotten. */
  async close(): Promise<void> {
    this.isClosed = true
    const worker = this.#worker
    await this.#starting
    if (worker !== undefined && worker.running.size > 0) await worker.end()
    else worker?.kill()
    this.#worker = undefined
    this.#unwatch()
  }

  /**
   * Refuses to go on in an environment that was closed.
   *
   * @throws Error - it was.
   */
  refuseClosed(): void {
    if (this.isClosed && this.#worker === undefined) {
      throw new Error('the environment is closed: nothing runs in it any more')
    }
  }

  stir(): void {
    const skipping = this.#skipping
    if (skipping !== undefined) clean(() => skipping.stir())
  }

  #startWorker(): void {
    const { cold, queues, concurrency } = this.setup
    const { doubles, calls } = this
    const later = (ms: number, what: string, act: () => void) => this.#later(ms, what, act)
    const begins = () => this.#skipping?.begins()
    const recording = { doubles, calls, later, begins, stir: () => this.stir() }
    const worker = new EnvironmentWorker(new EnvironmentClient(this, false), recording, {
      queues,
      concurrency,
      functions: this.functions,
      name: 'an environment',
      warm: cold === undefined ? undefined : cold ? 0 : WARM,
    })
    this.#worker = worker
    this.#starting = clean(() => worker.start()).catch((error: unknown) => {
      if (this.#worker === worker) this.waiting.fail(error)
    })
  }

  #later(ms: number, what: string, act: () => void): Forget {
    const { agenda, clock } = this.engine
    const due = agenda.add(clock.now + Math.round(1000 * Math.max(0, ms)), what, act)
    this.stir()
    return () => due.drop()
  }

  /** What keeps the worker from going on. */
  get failure(): unknown {
    return this.#worker?.failure
  }

  /** Kills the worker. The next one goes on once the death was noticed. */
  crash(): void {
    const worker = this.#worker
    if (worker === undefined) return
    worker.kill()
    const row = this.engine.workers.get(worker.workerId ?? '')
    if (row !== undefined) this.engine.lose(row, HEARTBEAT_TIMEOUT_MS)
    this.#startWorker()
    this.waiting.changed()
  }

  /** Answers the environment's time. */
  now(): Date {
    return instant(this.engine.clock.now)
  }

  // --- operations ---

  /** Performs an operation that does not wait. */
  perform(operation: Operation, request: object): any {
    return this.engine.perform(operation, request)
  }

  /** Performs an operation. */
  async call(operation: Operation, request: Json, signal?: AbortSignal): Promise<any> {
    if (operation === Operation.CLAIM || operation === Operation.PULL_EVENTS) {
      return await this.#poll(operation, request, signal)
    }
    if (operation === Operation.WAIT_EXECUTION) {
      const row = this.#find(request.id)
      await this.waiting.endOf(row, request.wait_ms ?? 0, { outside: false, signal })
    }
    return this.perform(operation, request)
  }

  /** Waits for work, or for news; a poll without either does not end. */
  async #poll(operation: Operation, request: object, signal?: AbortSignal): Promise<any> {
    for (;;) {
      const { version } = this.engine
      const reply = this.perform(operation, request)
      if (reply.executions?.length || reply.draining || reply.notices?.length) return reply
      await this.waiting.news(version, signal)
    }
  }

  #find(id: string): Row {
    try {
      return this.engine.find(id)
    } catch (error) {
      throw error instanceof Fault ? faultToException(error.wire as any) : error
    }
  }

  /**
   * Waits for the end of an execution, and proves its workflows deterministic.
   *
   * @throws ResultTimeout - it did not end in time.
   * @throws Stuck - it waits for what does not come.
   * @throws NonDeterminismError - its code is not deterministic.
   */
  async wait(id: string, options: WaitOptions, outside: boolean): Promise<Execution> {
    const row = this.#find(id)
    const { timeout, signal } = options
    const limit = timeout === undefined ? undefined : seconds(timeout, { name: 'timeout' })
    const ms = limit === undefined ? undefined : 1000 * limit
    if (!(await this.waiting.endOf(row, ms, { outside, signal }))) {
      throw new ResultTimeout(`execution ${id} did not end within ${limit} s; it goes on`, id)
    }
    return this.perform(Operation.GET_EXECUTION, { id })
  }

  // --- the proof ---

  /**
   * Replays prefixes of the histories of workflows.
   *
   * @param rows - the workflows; others are passed over.
   * @param options - `again` throws for those too for which it was thrown before.
   * @throws NonDeterminismError - the code did something else than before.
   */
  async prove(rows: Iterable<Row>, { again = true } = {}): Promise<void> {
    if (this.setup.prove === 'never') return
    for (const row of rows) {
      const fn = row.isWorkflow ? this.functions.find('workflow', row.name) : undefined
      if (fn === undefined || row.parked !== undefined) continue
      if (!this.functions.isDouble(row.name)) await this.#proveRow(row, fn, again)
    }
  }

  async #proveRow(row: Row, fn: DurableFunction, again: boolean): Promise<void> {
    const runs = [...row.histories.keys()]
    if (!again && runs.some((run) => this.#proven.get(`${row.id} ${run}`)?.error)) return
    for (const run of runs) {
      const known = this.#proven.get(`${row.id} ${run}`)
      const length = row.histories.get(run)?.length
      const error = known?.length === length ? known?.error : await this.#prove(row, run, fn)
      if (error !== undefined) throw error
    }
  }

  async #prove(row: Row, run: number, fn: DurableFunction): Promise<unknown> {
    const length = row.histories.get(run)?.length ?? 0
    let error: unknown
    try {
      await clean(() => prove(row, run, fn, this.setup.prove))
    } catch (found) {
      if (!(found instanceof NonDeterminismError)) throw found
      error = found
    }
    this.#proven.set(`${row.id} ${run}`, { length, error })
    return error
  }
}
