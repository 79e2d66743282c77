/** A worker on an engine in memory. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from '../src/_client'
import type { Engine } from '../src/_engine'
import { callable, DurableFunction, type Fn } from '../src/_functions'
import { type LogLevel, setLogger } from '../src/_log'
import { type CallOptions, Operation } from '../src/_operations'
import type { BodyOptions, Kind, Options, StepOptions, WorkflowOptions } from '../src/_options'
import { Registry } from '../src/_registry'
import { Worker, type WorkerOptions } from '../src/_worker'
import { MemoryEngine } from '../src/testing/_engine'
import { stopError } from '../src/testing/_ledger'
import { FINAL, type Json, type Row } from '../src/testing/_rows'

const POLL = 20

/** The engine in memory for a worker on the ordinary clock: time is skipped when it is idle. */
export class RigEngine extends MemoryEngine {
  #poked: (() => void)[] = []

  constructor() {
    super(new Date('2026-01-01T00:00:00Z'))
    this.keepsCalls = true
    this.changed.push(() => this.poke())
  }

  poke(): void {
    for (const wake of this.#poked.splice(0)) wake()
  }

  async call(operation: Operation, request: object, { signal }: CallOptions = {}): Promise<any> {
    await null
    let reply = this.perform(operation, request)
    if (operation === Operation.CLAIM) {
      const waits = (request as Json).wait_ms > 0
      while (waits && reply.executions.length === 0 && !reply.draining) {
        await this.#pause(true, signal)
        reply = this.perform(operation, request)
      }
    } else if (operation === Operation.PULL_EVENTS) {
      while (reply.notices.length === 0) {
        await this.#pause(false, signal)
        reply = this.perform(operation, request)
      }
    }
    return reply
  }

  async #pause(skip: boolean, signal?: AbortSignal): Promise<void> {
    const poked = new Promise<boolean>((resolve) => this.#poked.push(() => resolve(true)))
    const timer = new AbortController()
    const late = pause(POLL, false, { signal: timer.signal }).catch(() => false)
    const wasPoked = await Promise.race([poked, late])
    timer.abort()
    signal?.throwIfAborted()
    if (wasPoked) return
    const due = this.agenda.next()
    const runs = [...this.rows.values()].some(({ status }) => /^(pending|running)$/.test(status))
    if (skip && due !== undefined && !runs) this.advanceTo(due.at)
  }

  create(made: Json): Row {
    const row = this.add(made)
    this.poke()
    return row
  }

  /** Asks an execution to stop. */
  stop(row: Row): void {
    this.cancel(row, stopError('Cancelled', ''))
    this.poke()
  }

  /** Takes the lease away, as after a worker's death. */
  steal(row: Row): void {
    this.notify(row, 'lost')
    row.token = undefined
    this.makePending(row)
    this.poke()
  }
}

/** A line of the log. */
export interface Line {
  readonly level: LogLevel
  readonly message: string
}

/** A worker on an engine in memory, with functions of its own; it is stopped in the end. */
export class Rig {
  readonly engine = new RigEngine()
  readonly registry = new Registry()
  readonly workers: Worker[] = []
  /** What was logged. */
  readonly lines: Line[] = []
  /** Stands in for what the worker calls. */
  call = (operation: Operation, request: object, options?: CallOptions): Promise<any> =>
    this.engine.call(operation, request, options)

  constructor(t: TestContext) {
    const keep = (level: LogLevel) => (message: string) => void this.lines.push({ level, message })
    setLogger({
      debug: keep('debug'),
      info: keep('info'),
      warn: keep('warn'),
      error: keep('error'),
    })
    t.after(async () => {
      for (const worker of this.workers) {
        worker.stop()
        await worker.close()
      }
      setLogger()
    })
  }

  /** What was logged from a level on. */
  told(...levels: LogLevel[]): string[] {
    const wanted = levels.length > 0 ? levels : ['warn', 'error']
    return this.lines.filter(({ level }) => wanted.includes(level)).map(({ message }) => message)
  }

  worker(options: WorkerOptions = {}): Worker {
    const worker = new RigWorker(this, { functions: this.registry, drainTimeout: 5, ...options })
    this.workers.push(worker)
    return worker
  }

  async start(options: WorkerOptions = {}): Promise<Worker> {
    return await this.worker(options).start()
  }

  job<A extends unknown[], T>(name: string, body: (...args: A) => T, options: BodyOptions = {}) {
    return this.#define('job', name, body, options)
  }

  activity<A extends unknown[], T>(
    name: string,
    body: (...args: A) => T,
    options: BodyOptions = {},
  ) {
    return this.#define('activity', name, body, options)
  }

  step<A extends unknown[], T>(name: string, body: (...args: A) => T, options: StepOptions = {}) {
    return this.#define('step', name, body, options)
  }

  workflow<A extends unknown[], T>(
    name: string,
    body: (...args: A) => T,
    options: WorkflowOptions = {},
  ) {
    return this.#define('workflow', name, body, options)
  }

  #define<A extends unknown[], T>(
    kind: Kind,
    name: string,
    plain: (...args: A) => T,
    options: Options,
  ): Fn<A, Awaited<T>> {
    const parts = { kind, plain, options: { ...options, name }, place: name }
    const definition = new DurableFunction({ ...parts, isTopLevel: false, isExternal: false })
    this.registry.add(definition)
    return callable(definition) as Fn<A, Awaited<T>>
  }

  queue(fn: Fn<any, any, any, any>, ...args: unknown[]): Row {
    return this.engine.create(fn.definition.execution(args) as Json)
  }

  async end(row: Row): Promise<Row> {
    await until(() => FINAL.has(row.status), `${row.kind} ${row.name} to end`)
    return row
  }

  async run(fn: Fn<any, any, any, any>, ...args: unknown[]): Promise<Row> {
    if (this.workers.length === 0) await this.start()
    return await this.end(this.queue(fn, ...args))
  }

  async signal(id: string, name: string, payload: unknown = null): Promise<void> {
    await this.engine.call(Operation.SEND_SIGNAL, { items: [{ id, name, payload }] })
  }
}

class RigWorker extends Worker {
  constructor(
    private readonly rig: Rig,
    options: WorkerOptions,
  ) {
    super(options)
  }

  protected override connect(): Client {
    return new RigClient(this.rig)
  }
}

class RigClient extends Client {
  constructor(private readonly rig: Rig) {
    super()
  }

  override get engine(): Engine {
    const { rig } = this
    const caller = { call: (...args: Parameters<Rig['call']>) => rig.call(...args) }
    return caller as unknown as Engine
  }
}

/** Waits until something is true, not for ever. */
export async function until(condition: () => unknown, what = 'it', within = 5000): Promise<void> {
  const deadline = performance.now() + within
  while (!condition()) {
    assert.ok(performance.now() < deadline, `waited ${within} ms for ${what} in vain`)
    await pause(1)
  }
}

/** Something that happens once, and that code waits for. */
export class Moment {
  #happen!: () => void
  readonly happened = new Promise<void>((resolve) => {
    this.#happen = resolve
  })
  has = false

  happen(): void {
    this.has = true
    this.#happen()
  }
}
