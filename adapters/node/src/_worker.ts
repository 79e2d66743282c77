/** The worker: claims executions, runs their code, and writes what became of them. */

import { HeldWorkflow, type WorkflowHome } from './_advancing'
import { after, Bodies } from './_attempts'
import { Client, client } from './_client'
import { Crowd } from './_crowd'
import { lapsing } from './_engine'
import { Closed, WorkerNotFound, WorkflowsError } from './_errors'
import { type Held, HeldAttempt } from './_executions'
import { installGuards } from './_guards'
import { MAX_HISTORY } from './_history'
import { bodiesOf, Lacking, MAX_LACKING } from './_lacking'
import { log } from './_log'
import { names } from './_names'
import { olderEvents } from './_older'
import {
  type CallOptions,
  type Claimed,
  type ClaimRequest,
  type Event,
  type FunctionName,
  Operation,
  type StartWorkerRequest,
} from './_operations'
import { Outbox } from './_outbox'
import { type Patience, patiently, paused } from './_patience'
import { bearRejections, onSignals, stayAlive, type Undo } from './_process'
import { Reports } from './_progress'
import type { Registry } from './_registry'
import type { Replay } from './_replay'
import { milliseconds, Settings } from './_settings'
import { Strays } from './_strays'
import { Bell, settled, within } from './_waits'
import { Warm } from './_warm'
import { watch } from './_watchdog'
import { functionsOf, introduction, type WorkerOptions } from './_worker_options'

export type { WorkerOptions }

const CLAIM_WAIT_MS = 10_000
const MAX_CLAIM = 1000
const WARM = 2000
/** For which a worker may have no free slot before it looks for workflows alone, in milliseconds. */
const FULL_PAUSE = 1000
const DRAIN = 30_000
const CLOSE = 2000
const STOPPED_EARLY = 'the worker was stopped before it had started'

/**
 * Runs jobs, activities and workflows of some queues, on the event loop of this thread.
 *
 * An execution that a dying worker held is run again elsewhere, so bodies run *at least* once.
 * What computes for long holds up everything else on the loop: give it to a worker thread of
 * your own. Leases are kept by the library all the same.
 *
 * @example
 * ```ts
 * await new Worker({ queues: ['orders'], concurrency: 20 }).run()
 * ```
 */
export class Worker implements WorkflowHome, AsyncDisposable {
  readonly concurrency: number
  readonly functions: Registry
  /** As the library knows it; undefined before the start. */
  workerId: string | undefined
  outbox!: Outbox
  bodies!: Bodies
  client!: Client
  /** What keeps the worker from going on. */
  failure: unknown
  protected readonly held = new Map<string, Held<any>>()
  protected readonly looksBeyond: boolean = true
  readonly #options: WorkerOptions
  readonly #request: StartWorkerRequest
  readonly strays = new Strays()
  readonly #warm: Warm
  readonly #drainTimeout: number
  readonly #crowd = new Crowd()
  readonly #reports = new Reports({
    call: (operation, request) => this.call(operation, request),
    later: (delay, act) => this.later(delay, act),
    workerId: () => this.workerId,
  })
  readonly #lacking = new Lacking()
  #tasks: Promise<void>[] = []
  #maxHistory = MAX_HISTORY
  #isOn = false
  #isRegistered = false
  #isStopping = false
  #isHurried = false
  #starting: Promise<void> = Promise.resolve()
  #draining: Promise<void> | undefined
  #ending: Promise<void> | undefined
  #changed = new Bell()
  #aborting = new AbortController()
  #undo: Undo[] = []

  constructor(options: WorkerOptions = {}) {
    const settings = Settings.fromEnvironment()
    const queues = options.queues ?? ['default']
    if (typeof queues === 'string') {
      throw new TypeError(`queues must be a list of names, such as ['${queues}']`)
    }
    this.concurrency = options.concurrency ?? settings.workerMaxConcurrent ?? 10
    const warm = options.warm ?? settings.workerWarm ?? WARM
    if (!(this.concurrency >= 1) || !(warm >= 0)) {
      throw new RangeError('concurrency must be at least 1, and warm at least 0')
    }
    this.functions = functionsOf(options.functions)
    this.#options = options
    this.#warm = new Warm(warm)
    this.#drainTimeout =
      options.drainTimeout === undefined
        ? DRAIN
        : milliseconds(options.drainTimeout, { name: 'drainTimeout' })
    const about = { concurrency: this.concurrency, warm: warm > 0, early: true }
    this.#request = { ...about, queues: [...queues], ...introduction(options, settings) }
  }

  // --- life ---

  /**
   * Works until `stop()`, SIGTERM or SIGINT, and drains.
   *
   * A second signal puts back what runs at once. The process stays alive while it works.
   *
   * @param options - handleSignals: default true; false leaves signals alone.
   * @throws What keeps it from going on, such as a schema that was removed under it; or what kept
   *   it from starting until it was stopped.
   */
  async run({ handleSignals = true }: { handleSignals?: boolean } = {}): Promise<void> {
    const undo = handleSignals ? onSignals(() => this.stop()) : () => {}
    try {
      await this.start()
      while (!this.#isStopping) await this.#changed.wait()
      await this.close()
    } catch (error) {
      // stopped before anything had kept it from starting: that is what was asked for
      if (error !== this.#aborting.signal.reason) throw error
    } finally {
      undo()
    }
    if (this.failure !== undefined) throw this.failure
  }

  /**
   * Starts working, and answers when the worker is registered. `close()` ends it.
   *
   * @throws {WorkflowsError} It runs already.
   * @throws {Closed} It was stopped before it was registered.
   */
  async start(): Promise<this> {
    this.#begin()
    this.#starting = this.#reach()
    await this.#starting
    return this
  }

  async #reach(): Promise<void> {
    try {
      this.client = this.connect()
      this.outbox = new Outbox((operation, request) => this.call(operation, request))
      this.bodies = this.makeBodies(() => this.#changed.ring())
      const holds = () => !this.isIdle && !this.#isStopping
      this.#undo = [
        this.stayAlive(),
        bearRejections(),
        lapsing(this.client.engine, holds),
        this.#crowd.watch(() => (this.#free > 0 ? [] : this.bodies.abandonedNames)),
      ]
      await this.#register()
    } catch (error) {
      this.#ending = this.#letGo()
      await this.#ending
      throw error
    }
    this.#isRegistered = true
    this.#tasks = [this.#watched(this.#claiming()), this.#watched(this.#noticing())]
  }

  /** Makes it as new, for one that was closed may be started again. */
  #begin(): void {
    if (this.#isOn) {
      throw new WorkflowsError(
        'this worker runs already: close() it and wait for that before it is started again, ' +
          'or make another one',
      )
    }
    installGuards()
    this.#isOn = true
    this.#isRegistered = this.#isHurried = false
    this.#draining = this.#ending = undefined
    this.#aborting = new AbortController()
    this.failure = undefined
    if (this.#isStopping) this.#aborting.abort(new Closed(STOPPED_EARLY)) // before it was started
  }

  /**
   * Asks the worker to stop; asked again, it does not wait for what runs.
   *
   * One that has not reached its database yet gives that up; one that has not been started stops
   * as soon as it is.
   */
  stop(): void {
    if (this.#isStopping) this.#isHurried = true
    this.#isStopping = true
    if (this.#isOn && !this.#isRegistered) this.#aborting.abort(new Closed(STOPPED_EARLY))
    this.#changed.ring()
  }

  /** Stops the worker and waits for its end: what runs has the drain time to finish. */
  async close(): Promise<void> {
    if (!this.#isOn) return
    if (!this.#isRegistered) {
      this.stop()
      await settled([this.#starting])
    } else {
      this.#ending ??= this.#end()
      await this.#ending
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  protected connect(): Client {
    const { url, schema } = this.#options
    if (!this.#ownsClient) return client()
    return new Client({
      ...(url !== undefined && { url }),
      ...(schema !== undefined && { schema }),
    })
  }

  protected makeBodies(freed: () => void): Bodies {
    return new Bodies(this.client, freed)
  }

  protected stayAlive(): Undo {
    return stayAlive()
  }

  /** Has something happen after a time, in milliseconds. */
  protected later(delay: number, act: () => void): Undo {
    return after(delay, act)
  }

  protected call(operation: Operation, request: object, options?: CallOptions): Promise<any> {
    return this.client.engine.call(operation, request, options)
  }

  get #ownsClient(): boolean {
    return this.#options.url !== undefined || this.#options.schema !== undefined
  }

  /** Stops the worker when it cannot go on, as with a schema that was removed under it. */
  async #watched(task: Promise<void>): Promise<void> {
    try {
      await task
    } catch (error) {
      if (this.#aborting.signal.aborted) return
      log.error(`the worker cannot go on: ${error instanceof Error ? error.message : error}`, error)
      this.failure ??= error
      this.#isStopping = true
      this.#changed.ring()
    }
  }

  async #register(): Promise<void> {
    const reply = await this.#patiently(Operation.START_WORKER, this.#request)
    this.workerId = reply.worker_id
    this.#maxHistory = reply.max_history ?? MAX_HISTORY
    const known = Object.entries(this.functions.names()).map(([kind, of]) => names(kind, of))
    log.info(
      `worker ${this.workerId} serves ${names('queue', this.#request.queues)}, ` +
        `${this.concurrency} at a time, with ` +
        (known.join(', ') || 'no functions at all: import the modules that have them'),
    )
  }

  /** Claims nothing more, and waits for what runs. */
  async #drain(): Promise<void> {
    this.#isStopping = true
    this.#changed.ring()
    await this.#quietly({ worker_id: this.workerId, drain: true })
    if (this.held.size > 0 && !this.#isHurried) {
      log.info(
        `worker ${this.workerId} is stopping; what runs, ${this.held.size} in number, has ` +
          `${this.#drainTimeout / 1000} s to finish (stop it again to put it back at once)`,
      )
    }
    const deadline = performance.now() + this.#drainTimeout
    for (;;) {
      const left = deadline - performance.now()
      if (this.held.size === 0 || this.#isHurried || left <= 0) break
      await within(left, this.#changed.wait())
    }
    const left = Math.max(1000, deadline - performance.now())
    await this.outbox.flushed(this.#isHurried ? 0 : left)
  }

  /** Puts back the rest, and lets go of everything. */
  async #end(): Promise<void> {
    this.#draining ??= this.#drain()
    await this.#draining
    for (const held of [...this.held.values()]) held.interrupt()
    this.#aborting.abort()
    await settled(this.#tasks)
    await this.outbox.flushed(1000) // what ended in its interruption
    await this.#reports.flushed(1000)
    this.outbox.close()
    const released = await this.#quietly({ worker_id: this.workerId })
    if (released !== undefined) {
      log.info(`worker ${this.workerId} has stopped; executions put back: ${released}`)
    }
    await this.#letGo()
  }

  /** Answers how many executions were put back, undefined if nobody knows. */
  async #quietly(request: object): Promise<number | undefined> {
    try {
      return (await this.call(Operation.STOP_WORKER, request)).released ?? 0
    } catch (error) {
      if (error instanceof WorkflowsError) return undefined
      throw error
    }
  }

  async #letGo(): Promise<void> {
    this.forget()
    for (const undo of this.#undo.splice(0)) undo()
    // It may still be connecting, which nobody can end.
    if (this.#ownsClient) await within(CLOSE, this.client?.close() ?? Promise.resolve())
    this.#isOn = this.#isStopping = false
  }

  /** Discards every workflow in memory, without running its code. */
  forget(): void {
    for (const held of [...this.held.values()]) {
      if (held instanceof HeldWorkflow) held.drop()
    }
    this.held.clear()
    this.#warm.clear()
  }

  /** Whether it holds nothing. */
  get isIdle(): boolean {
    return this.held.size === 0
  }

  // --- claiming ---

  get #free(): number {
    return this.concurrency - this.held.size - this.bodies.abandoned
  }

  /** Asks for all free slots at once, again and again. */
  async #claiming(): Promise<void> {
    while (!this.#isStopping) {
      const free = this.#free
      let request: ClaimRequest | undefined = {
        worker_id: this.workerId as string,
        n: Math.min(free, MAX_CLAIM),
        wait_ms: CLAIM_WAIT_MS,
        lacking: this.stillLacking(),
      }
      if (free <= 0) {
        this.#crowd.tell(this.bodies.abandonedNames)
        request = await this.#beyond(request)
      }
      if (request === undefined) continue
      try {
        const reply = await this.#patiently(Operation.CLAIM, request)
        this.#take(reply.executions)
        if (reply.draining) return
      } catch (error) {
        if (!(error instanceof WorkerNotFound)) throw error
        await this.#declaredDead()
      }
    }
  }

  /**
   * Waits for a free slot, and answers what to ask for if none comes for a while.
   *
   * Workflows alone, as if every other function were lacking: what holds the slots may be what
   * one of them is to cancel, and would hold them for ever.
   */
  async #beyond(request: ClaimRequest): Promise<ClaimRequest | undefined> {
    let isLate = false
    const late = () => {
      isLate = true
      this.#changed.ring()
    }
    const undo = this.looksBeyond ? this.later(FULL_PAUSE, late) : () => {}
    await this.#changed.wait()
    undo()
    if (!isLate) return undefined
    const lacking = [...(request.lacking ?? []), ...bodiesOf(this.functions)]
    const more = 2 * this.concurrency - this.held.size
    if (this.#isStopping || more <= 0 || lacking.length > MAX_LACKING) return undefined
    return { ...request, n: Math.min(more, MAX_CLAIM), wait_ms: 0, lacking }
  }

  /** Answers the functions that executions were put back for, and that are not here yet. */
  protected stillLacking(): FunctionName[] {
    return this.#lacking.still(this.functions)
  }

  #take(executions: readonly Claimed[]): void {
    const taken = executions.map((claimed) => this.#holding(claimed))
    for (const held of taken) this.held.set(held.id, held)
    for (const held of taken) held.begin()
  }

  #holding(claimed: Claimed): Held<any> {
    const { kind, name } = claimed
    const fn = this.functions.find(kind, name)
    if (fn === undefined) this.#lacking.add({ kind, name })
    if (claimed.kind !== 'workflow') return new HeldAttempt(this, claimed, fn)
    watch() // not before: the thread takes more memory than all the rest of the adapter
    const before = this.held.get(claimed.id)
    const limited: Claimed & { max_history?: number } = claimed // not a copy: it is ours alone
    limited.max_history = this.#maxHistory
    return new HeldWorkflow(this, limited, fn, before instanceof HeldWorkflow ? before : undefined)
  }

  /** The library does not know this worker any more: nothing that it held is its own now. */
  async #declaredDead(): Promise<void> {
    for (const held of [...this.held.values()]) held.notice({ lost: true })
    await this.#register()
  }

  /** Performs an operation, and waits out what passes. */
  #patiently(operation: Operation, request: object): Promise<any> {
    const { signal } = this.#aborting
    return patiently(operation, () => this.call(operation, request, { signal }), this.#patience)
  }

  get #patience(): Patience {
    return { signal: this.#aborting.signal, later: (delay, act) => this.later(delay, act) }
  }

  // --- notices ---

  /** Hears about lost leases, cancels and new events. */
  async #noticing(): Promise<void> {
    while (!this.#aborting.signal.aborted) {
      const request = { worker_id: this.workerId, wait_ms: CLAIM_WAIT_MS }
      try {
        const reply = await this.#patiently(Operation.PULL_EVENTS, request)
        for (const notice of reply.notices) {
          const held = this.held.get(notice.id)
          if (held?.lease.token === notice.lease.token) held?.notice(notice)
        }
      } catch (error) {
        if (!(error instanceof WorkerNotFound)) throw error
        await paused(this.#patience) // the claimer registers anew
      }
    }
  }

  // --- what executions need ---

  /** An execution is no longer held. */
  freed(held: Held<any>): void {
    if (this.held.get(held.id) === held) this.held.delete(held.id)
    this.#changed.ring()
  }

  /** Answers a workflow as this worker suspended it, if nobody has held it since. */
  remembered(claimed: Claimed): Replay | undefined {
    return this.#warm.take(claimed)
  }

  /** A workflow waits for an event; it stays warm if there is room. */
  suspended(held: HeldWorkflow): void {
    if (held.replay !== undefined) this.#warm.put(held.replay, held.lease.token)
    held.replay = undefined
    this.freed(held)
  }

  /** Reads the events that a claim left out, page by page. */
  async history(claimed: Claimed): Promise<Event[]> {
    return await olderEvents(claimed, (operation, request) => this.#patiently(operation, request))
  }

  /** Sends progress, the latest of each execution and not too often. */
  report(held: Held<any>, details: unknown): void {
    this.#reports.add(held, details)
  }

  /** Sends an attempt's last progress, and waits until it is recorded. */
  async record(held: Held<any>, details: unknown): Promise<void> {
    await this.#reports.record(held, details)
  }
}
