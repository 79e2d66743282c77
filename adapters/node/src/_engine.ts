/** The library, connected to a database, and shared by all who use that one. */

import { isMainThread } from 'node:worker_threads'
import { Channel, type ChannelCallOptions, type Connection, type Home } from './_channel'
import { postgresBinaries } from './_embedded'
import { Closed, NotDurableError } from './_errors'
import { Library } from './_library'
import { active } from './_loop'
import type { Caller, Config, Operation } from './_operations'
import { Settings } from './_settings'

// How long the end of the process may wait for what is in flight, in milliseconds.
const EXIT_GRACE = 250

/** What may be said about one call. */
export type EngineCallOptions = ChannelCallOptions

/** What the library's Config has, any of it. */
export type EngineConfig = Partial<Config>

/**
 * The library, connected to one database.
 *
 * Engines are shared by configuration: `Engine.shared` gives the same one again until it was
 * closed as often as it was given. What is still open when the process ends is closed then.
 * Threads have engines of their own, which share their connections.
 *
 * @example
 * ```ts
 * const engine = Engine.shared('embedded:') // connects at the first call
 * console.log((await engine.call(Operation.STATS, {})).schema)
 * await engine.close()
 * ```
 */
export class Engine implements Caller, Home {
  static readonly #shared = new Map<string, Engine>()

  /**
   * Answers the engine for a configuration.
   *
   * It connects at the first call, not here. Every call of `shared` needs its own `close`, unless
   * the engine is to stay open until the process ends.
   *
   * @param url Of the database; `embedded:` or `embedded:PATH` for a private one. Default
   *   `WORKFLOWS_DATABASE_URL`, then `embedded:`.
   * @param config What else the library's Config has, such as `schema`, `listen_url` and
   *   `pool_size`.
   * @throws {InvalidConfig} A `WORKFLOWS_*` variable makes no sense.
   */
  static shared(url?: string, config: EngineConfig = {}): Engine {
    const settings = Settings.fromEnvironment()
    const complete = known({
      database_url: url || settings.databaseUrl,
      listen_url: settings.listenUrl,
      schema: settings.schema,
      ...known(config),
    })
    const key = JSON.stringify(Object.entries(complete).sort())
    let engine = Engine.#shared.get(key)
    if (engine === undefined) {
      engine = new Engine(complete)
      Engine.#shared.set(key, engine)
    }
    engine.#users++
    return engine
  }

  #users = 0
  #library: Library | undefined
  #handle = 0
  #closed = false
  #opening: Promise<Connection> | undefined
  #channel: Channel | undefined

  /** @param options.library Instead of the one that is found. */
  constructor(
    readonly config: EngineConfig,
    options: { readonly library?: Library } = {},
  ) {
    this.#library = options.library
  }

  /** Whether the engine is connected already. */
  get isOpen(): boolean {
    return this.#handle !== 0 && !this.#closed
  }

  /**
   * Connects, if that was not done. An embedded database takes a second to start.
   *
   * A failure is not remembered; the next call tries again.
   *
   * @throws {WorkflowsError} Whatever keeps it from connecting.
   */
  async open(): Promise<Connection> {
    if (this.#closed) throw new Closed('the engine was closed; ask Engine.shared for a new one')
    if (this.#library !== undefined && this.#handle !== 0) {
      return { library: this.#library, handle: this.#handle }
    }
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = undefined
    })
    const connection = await this.#opening
    if (this.#closed) throw new Closed('the engine was closed while it opened')
    return connection
  }

  async #connect(): Promise<Connection> {
    this.#library ??= Library.get()
    const library = this.#library
    const config = JSON.stringify(this.#fullConfig())
    const handle = await whileConnecting(library, () => library.open(config))
    this.#handle = handle
    openEngines.add(this)
    return { library, handle }
  }

  #fullConfig(): EngineConfig {
    const { database_url: url = 'embedded:' } = this.config
    if (!url.startsWith('embedded:')) return this.config
    return { postgres_binaries: postgresBinaries(), ...this.config }
  }

  /**
   * Performs an operation and answers what its reply has under "ok".
   *
   * @param operation Which one.
   * @param request Its request; the payloads in it must be plain JSON.
   * @param options.signal Aborting it asks the library to stop. A write that was aborted may have
   *   happened all the same; a claim puts back what it had won.
   * @param options.raw Answer the reply as text, {"ok": ...} or {"error": ...}: a fault does not
   *   throw then.
   * @param options.idle Let the process end by itself although the call is on its way.
   * @throws {WorkflowsError} The operation failed; the class follows from the fault's code.
   * @throws {NotDurableError} It was called inside a workflow.
   * @throws The signal's reason, once that is aborted.
   *
   * @example
   * ```ts
   * (await engine.call(Operation.STATS, {})).schema // 'workflows'
   * ```
   */
  call(operation: Operation, request: object, options?: EngineCallOptions): Promise<any> {
    try {
      refuseInsideWorkflows()
      if (this.#closed) throw new Closed('the engine was closed; ask Engine.shared for a new one')
      this.#channel ??= new Channel(this)
      return this.#channel.call(operation, request, options)
    } catch (error) {
      return Promise.reject(error) // not async, which would add a promise to each call
    }
  }

  /** Drops a channel that has closed. */
  forget(channel: Channel): void {
    if (this.#channel === channel) this.#channel = undefined
  }

  /**
   * Gives the engine back; the last one to do so closes it.
   *
   * Calls in flight have the grace to complete, and reject with Closed after that. The process can
   * end by itself then. Closing a closed engine changes nothing.
   *
   * @param grace In seconds.
   */
  async close(grace = 1): Promise<void> {
    this.#users--
    if (this.#users > 0 || this.#closed) return
    this.#closed = true
    for (const [key, engine] of Engine.#shared) {
      if (engine === this) Engine.#shared.delete(key)
    }
    await this.#opening?.catch(() => {})
    if (this.#handle === 0) return
    openEngines.delete(this)
    await this.#library?.close(this.#handle, Math.round(grace * 1000))
    // The channel learns of it by the end of its pipe, once what has completed is taken.
  }

  /** Closes the engine while the process ends, when nothing can be waited for. */
  closeNow(graceMs: number): void {
    this.#closed = true
    this.#library?.closeNow(this.#handle, graceMs)
  }
}

/**
 * Refuses a client's call in workflow code.
 *
 * @throws {NotDurableError} This is workflow code.
 */
export function refuseInsideWorkflows(): void {
  if (active() !== undefined) {
    throw new NotDurableError(
      'a client was called inside a workflow, where nothing would record its answer: call it in' +
        ' an activity or a step; to start or signal executions use what `libworkflows` offers',
    )
  }
}

// `process.exit()` ends with it, once all listeners have run.
declare global {
  namespace NodeJS {
    interface Process {
      reallyExit(code?: number): never
    }
  }
}

const openEngines = new Set<Engine>()
const connecting: Library[] = []
let exitHooked = false

async function whileConnecting<T>(library: Library, connect: () => Promise<T>): Promise<T> {
  if (!exitHooked) process.on('exit', closeAll)
  exitHooked = true
  connecting.push(library)
  try {
    return await connect()
  } finally {
    connecting.pop() // whichever: there is one library
  }
}

const holders = new Map<object, Set<() => boolean>>()

/**
 * Has the leases of an engine's workers run out, if the process ends while something holds some.
 *
 * What ends its process is to count as a crash, for put back it would end one worker after the
 * other. The end of a thread is not the end of its process, where the library would keep the
 * leases on and on: there they are put back.
 *
 * @param holds Whether something is held that nobody has asked to stop.
 * @returns How to take that back.
 */
export function lapsing(engine: object, holds: () => boolean): () => void {
  const asked = holders.get(engine) ?? new Set()
  holders.set(engine, asked.add(holds))
  return () => {
    asked.delete(holds)
    if (asked.size === 0) holders.delete(engine)
  }
}

function lapses(engine: Engine): boolean {
  return isMainThread && [...(holders.get(engine) ?? [])].some((holds) => holds())
}

function closeAll(): void {
  for (const engine of openEngines) if (!lapses(engine)) engine.closeNow(EXIT_GRACE)
  openEngines.clear()
  const [library] = connecting
  // Node waits for its threads, and the one that connects may have ten seconds to go.
  if (library !== undefined && isMainThread) {
    process.reallyExit = (code) => library.endProcess(code ?? 0)
  }
}

function known<T extends object>(config: T): T {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined && value !== null),
  ) as T
}
