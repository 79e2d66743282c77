/** The client: everything that can be done to executions from outside. */

import { setTimeout as pause } from 'node:timers/promises'
import {
  type Camel,
  type Change,
  type Created,
  camelCased,
  type Event,
  type Execution,
  type ExecutionPage,
  type Migrated,
  type NewExecution,
  type Sent,
  type Stats,
  type Status,
  snakeCased,
} from './_camel'
import { Engine, refuseInsideWorkflows } from './_engine'
import { WorkflowsError } from './_errors'
import type { SignalOptions, WaitOptions } from './_handles'
import * as operations from './_operations'
import { ResultTimeout } from './_outcomes'
import { adapt, plain, plainArguments } from './_payload'
import { seconds } from './_settings'
import { faultToException } from './_wire_errors'

export const POLL_MS = 30_000 // the longest that one wait_execution waits
const PATIENCE_MS = 60_000 // how long a wait bears a database that is away
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2000
const FINAL: ReadonlySet<Status> = new Set<Status>(['completed', 'failed', 'cancelled'])

function resultsOf(reply: operations.CreateExecutionReply): operations.Created[] {
  return reply.results
}

/** Which database, and what else the library's Config has. */
export interface ClientOptions extends Partial<Camel<operations.Config>> {
  /**
   * Of the database; `embedded:` or `embedded:PATH` for a private one. Default
   * `WORKFLOWS_DATABASE_URL`, then `embedded:`.
   */
  readonly url?: string
}

/** Which executions to list. */
export interface ListOptions {
  /** One or several of the states. */
  readonly status?: Status | readonly Status[] | undefined
  /** job, activity or workflow. */
  readonly kind?: operations.Kind | undefined
  /** Of the function. */
  readonly name?: string | undefined
  readonly queue?: string | undefined
  /** Only children of this execution. */
  readonly parentId?: string | undefined
  /** Only this execution and what came of it. */
  readonly rootId?: string | undefined
  /** Only what waits for somebody to look at it. */
  readonly parked?: boolean | undefined
  /** 1 to 1000, default 100. */
  readonly limit?: number | undefined
  /** From the last page. */
  readonly cursor?: string | undefined
}

/** Which part of a history to read. */
export interface HistoryOptions {
  /** Which go of the workflow; default the current one. */
  readonly run?: number | undefined
  /** Leaves out the events up to this position. */
  readonly after?: number | undefined
}

/**
 * Talks to the executions of one database.
 *
 * Engines are shared: making a client costs nothing, and the connection is made at its first
 * call. Inside a workflow use the functions of this package instead, which are recorded.
 *
 * @example
 * ```ts
 * const client = new Client({ url: 'postgres:///app' })
 * console.log((await client.stats()).queues)
 * await client.close()
 * ```
 */
export class Client {
  readonly #options: ClientOptions
  #engine: Engine | undefined

  /**
   * @param options.url Of the database; `embedded:` or `embedded:PATH` for a private one.
   *   Default `WORKFLOWS_DATABASE_URL`, then `embedded:`.
   * @param options.schema Default `WORKFLOWS_SCHEMA`, then "workflows".
   */
  constructor(options: ClientOptions = {}) {
    this.#options = options
  }

  /** The engine behind this client. */
  get engine(): Engine {
    if (this.#engine === undefined) {
      const { url, ...config } = this.#options
      this.#engine = Engine.shared(url, snakeCased(config))
    }
    return this.#engine
  }

  /**
   * Gives the engine back; it closes when nobody else in this process uses it.
   *
   * The process can end by itself then. The client connects anew when it is used again.
   *
   * @param grace In seconds, for calls that are still in flight.
   */
  async close(grace = 1): Promise<void> {
    const engine = this.#engine
    this.#engine = undefined
    await engine?.close(grace)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // --- making executions ---

  /**
   * Creates executions, all of them or none.
   *
   * Usually `fn.queue()` does this. An idempotency key that is taken answers the first
   * execution's id, with `created` false.
   *
   * @param newExecutions Up to 10,000; see NewExecution.
   * @throws {PayloadError} An argument is not JSON; it names the path.
   * @throws {WorkflowsError} None of them was created.
   *
   * @example
   * ```ts
   * const [created] = await client.create([{ kind: 'job', name: 'mail', args: ['a@example.org'] }])
   * ```
   */
  async create(newExecutions: Iterable<NewExecution>): Promise<Created[]> {
    const items = Array.from(newExecutions, onWire)
    return items.length === 0 ? [] : await this.submit(items)
  }

  /**
   * Creates executions whose payloads have been made plain. With a wait, in milliseconds, the
   * answer waits so long for their ends, and tells the outcomes of those that came.
   *
   * @internal
   */
  submit(items: readonly operations.NewExecution[], wait = 0): Promise<operations.Created[]> {
    const request = wait > 0 ? { items, wait_ms: wait } : { items }
    return operations.createExecution(this.engine, request).then(resultsOf)
  }

  // --- looking ---

  /**
   * Answers an execution as it stands now.
   *
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async get(id: string): Promise<Execution> {
    return camelCased(await operations.getExecution(this.engine, { id }))
  }

  /**
   * Answers what a workflow published last with `setState`, null if nothing yet.
   *
   * It can be read at any time: before the workflow runs, while it runs or waits, and when it
   * is over. What it sets is there once it waits for something.
   *
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async getState<T = unknown>(id: string): Promise<T | null> {
    return adapt((await operations.getExecution(this.engine, { id })).state, 'state')
  }

  /**
   * Waits for the end of an execution and answers it, however it ended.
   *
   * A database that is away for less than a minute is waited for. The wait keeps the process
   * alive until it is answered.
   *
   * @param id The execution's.
   * @param options.timeout How long to wait. Default: for ever.
   * @param options.signal Ends the wait, not the execution.
   * @throws {ResultTimeout} It did not end in time. It goes on unharmed.
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async wait(id: string, options: WaitOptions = {}): Promise<Execution> {
    return camelCased(await waited(this.engine, id, options))
  }

  /**
   * Answers a page of executions, the newest first.
   *
   * A page may be short of `limit` and still have a cursor: each call looks at a bounded number
   * of rows. Only a page without a cursor is the last.
   *
   * @example
   * ```ts
   * const page = await client.list({ status: 'failed', queue: 'mail' })
   * page.executions.map((execution) => execution.id)
   * ```
   */
  async list(options: ListOptions = {}): Promise<ExecutionPage> {
    const { status, ...others } = options
    const request: operations.ListExecutionsRequest = snakeCased(others)
    if (status !== undefined) request.status = typeof status === 'string' ? [status] : status
    return camelCased(await operations.listExecutions(this.engine, request))
  }

  /**
   * Answers the history of a workflow, in order of position.
   *
   * @param id The workflow's.
   * @param options - run: which go of it; default the current one. after: leaves out the events
   * up to this position.
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async history(id: string, { run = 0, after = 0 }: HistoryOptions = {}): Promise<Event[]> {
    const events: Event[] = []
    for (;;) {
      const reply = await operations.getHistory(this.engine, { id, run, after })
      events.push(...camelCased(reply.events))
      const last = reply.events.at(-1)
      if (!reply.more || last === undefined) return events
      run = reply.run
      after = last.position
    }
  }

  /** Answers how the system stands: queues with counts, workers, versions. */
  async stats(): Promise<Stats> {
    return camelCased(await operations.stats(this.engine, {}))
  }

  // --- acting ---

  /**
   * Asks an execution to stop, and what came of it with it.
   *
   * One that waits is cancelled at once. A running one is only asked: it may clean up first,
   * and what it has already sent out cannot be called back. Cancelling a finished one changes
   * nothing and says so.
   *
   * @param id The execution's.
   * @param reason For whoever reads it later.
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async cancel(id: string, reason = ''): Promise<Change> {
    return await changed(this.engine, operations.cancelExecution, id, reason)
  }

  /**
   * Ends an execution at once, without letting it clean up.
   *
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async terminate(id: string, reason = ''): Promise<Change> {
    return await changed(this.engine, operations.terminateExecution, id, reason)
  }

  /**
   * Runs a failed or cancelled execution again; a workflow goes on from its history.
   *
   * A parked workflow goes on as with `resume`.
   *
   * @throws {ExecutionNotFound} No execution has this id.
   * @throws {InvalidState} It has not ended in a way that can be retried.
   */
  async retry(id: string, reason = ''): Promise<Change> {
    return await changed(this.engine, operations.retryExecution, id, reason)
  }

  /**
   * Wakes a parked workflow, as after putting the code that it needs back.
   *
   * @throws {ExecutionNotFound} No execution has this id.
   */
  async resume(id: string, reason = ''): Promise<Change> {
    return await changed(this.engine, operations.resumeWorkflow, id, reason)
  }

  /**
   * Sends a signal to a workflow; it is kept until the workflow waits for it.
   *
   * @param id The workflow's.
   * @param name Of the signal.
   * @param payload Any JSON value. Default null.
   * @param options - key: delivers it once, however often it is sent to the same workflow.
   * @throws {ExecutionNotFound} No execution has this id.
   * @throws {ExecutionFinished} The workflow has ended.
   * @throws {PayloadError} The payload is not JSON.
   */
  async signal(
    id: string,
    name: string,
    payload: unknown = null,
    { key }: SignalOptions = {},
  ): Promise<Sent> {
    const signal: operations.Signal = { id, name, payload: plain(payload, 'payload') }
    if (key !== undefined) signal.idempotency_key = key
    const { results } = await operations.sendSignal(this.engine, { items: [signal] })
    return verdict(results)
  }

  /**
   * Brings the schema up to date; safe from many processes at once.
   *
   * @param options `roles` is how the names of four roles of least privilege begin, which are made
   *   unless they are there: ROLES_owner, _worker, _client and _reader. None are made by default.
   * @throws {SchemaTooNew} The database is ahead of this package.
   * @throws {PermissionDenied} The database role may not do it.
   */
  async migrate({ roles }: { readonly roles?: string } = {}): Promise<Migrated> {
    const request: operations.MigrateRequest = { direction: 'up' }
    if (roles !== undefined) request.roles = roles
    return camelCased(await operations.migrate(this.engine, request))
  }
}

function onWire({ args, kwargs, signals, ...others }: NewExecution): operations.NewExecution {
  const item = snakeCased(others) as operations.NewExecution
  if (args !== undefined) item.args = Array.isArray(args) ? plainArguments(args) : plain(args)
  if (kwargs !== undefined) item.kwargs = plain(kwargs, 'kwargs')
  if (signals !== undefined) {
    item.signals = signals.map(({ payload, ...signal }) => ({
      ...(snakeCased(signal) as operations.StartSignal),
      payload: plain(payload ?? null, 'signal'),
    }))
  }
  return item
}

async function waited(
  caller: operations.Caller,
  id: string,
  { timeout, signal }: WaitOptions,
): Promise<operations.Execution> {
  refuseInsideWorkflows() // before the clock is read, which is refused there for another reason
  const within = timeout === undefined ? undefined : seconds(timeout, { name: 'timeout' })
  const deadline = performance.now() + (within ?? Number.POSITIVE_INFINITY) * 1000
  const patience = new Patience()
  for (;;) {
    signal?.throwIfAborted()
    const left = Math.min(POLL_MS, Math.max(0, deadline - performance.now()))
    try {
      const request = { id, wait_ms: Math.round(left) }
      const execution = await operations.waitExecution(caller, request, { signal })
      if (FINAL.has(execution.status)) return execution
      patience.restored()
    } catch (error) {
      signal?.throwIfAborted()
      // An abort ends the pause early, and is told at the top of the loop with its own reason.
      await pause(Math.min(patience.tried(error), left), undefined, { signal }).catch(() => {})
    }
    if (performance.now() >= deadline) {
      throw new ResultTimeout(`execution ${id} did not end within ${within} s; it goes on`, id)
    }
  }
}

/** How long a wait bears with a database that is away. */
class Patience {
  #pause = FIRST_PAUSE_MS
  #troubledSince: number | undefined

  /** The database has answered. */
  restored(): void {
    this.#pause = FIRST_PAUSE_MS
    this.#troubledSince = undefined
  }

  /** Answers how long to wait after a failure, or throws it if that makes no sense. */
  tried(error: unknown): number {
    this.#troubledSince ??= performance.now()
    const retryable = error instanceof WorkflowsError && error.retryable
    if (!retryable || performance.now() - this.#troubledSince > PATIENCE_MS) throw error
    const pause = this.#pause
    this.#pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
    return pause
  }
}

async function changed(
  caller: operations.Caller,
  operation: typeof operations.cancelExecution,
  id: string,
  reason: string,
): Promise<Change> {
  const target: operations.Target = reason ? { id, reason } : { id }
  return verdict((await operation(caller, { items: [target] })).results)
}

/** Answers what became of the only item of a request. */
function verdict<T>([result]: readonly { ok?: T; error?: operations.Fault }[]): T {
  if (result?.ok !== undefined) return result.ok
  throw faultToException(result?.error ?? {})
}

// --- the default client -----------------------------------------------------------------

let defaultClient = new Client()

/**
 * Answers the client that `fn.run()` and `fn.queue()` use outside of workflows.
 *
 * Its engine is closed when the process ends; `await client().close()` closes it before.
 */
export function client(): Client {
  return defaultClient
}

/**
 * Chooses the database that functions use outside of workflows.
 *
 * Without it that is `WORKFLOWS_DATABASE_URL`, or a private embedded PostgreSQL. Call it once,
 * at the start: handles that exist keep their database.
 *
 * @param options As of `Client`.
 *
 * @example
 * ```ts
 * configure({ url: 'postgres:///app' })
 * ```
 */
export function configure(options: ClientOptions = {}): Client {
  const client = new Client(options)
  replaceDefault(client)
  return client
}

/** Makes a client the default one, and answers the one that it replaces. */
export function replaceDefault(client: Client): Client {
  const former = defaultClient
  defaultClient = client
  return former
}
