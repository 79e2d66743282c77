/** The environment that tests run workflows in. */

import { type Client, replaceDefault } from '../_client'
import { ExecutionFinished } from '../_errors'
import type { Body, Durable, Fn } from '../_functions'
import type { Handle } from '../_handles'
import { Operation } from '../_operations'
import { type Registry, registry } from '../_registry'
import { type Duration, seconds } from '../_settings'
import { type Call, callsOfWorkflows } from './_calls'
import { Double, ITS_OWN, isErrorClass } from './_doubles'
import { EnvironmentHandle, type When } from './_handle'
import type { Prove } from './_proof'
import { Runner } from './_runner'
import type { Condition } from './_waiting'

/** When an environment begins, if nothing else is said. */
const START = new Date('2026-01-01T00:00:00Z')

/** How an environment is to be. */
export interface EnvironmentOptions {
  /** The time at which it begins. Default 2026-01-01, 00:00 UTC. */
  readonly start?: Date
  /** Of ids; with the same seed two runs of a test give the same histories. Default 0. */
  readonly seed?: number
  /**
   * Replay workflows from the start whenever they go on (true), or keep them in memory (false).
   * Default as for `Worker`: in memory, unless `WORKFLOWS_WORKER_WARM` is 0.
   */
  readonly cold?: boolean
  /**
   * Replay prefixes of every history, cold, and compare what the code asks for: "every" prefix, a
   * "sample" of them if there are more than 200, or "never". Default "sample".
   */
  readonly prove?: Prove
  /** How often a workflow may continue as new before that counts as endless. Default 100. */
  readonly maxRuns?: number
  /** How far time may go while something is waited for. Default 36500 days. */
  readonly timeLimit?: Duration
  /** How many executions the worker holds at a time. Default 1000. */
  readonly concurrency?: number
  /** Which queues it serves. Default: all. */
  readonly queues?: readonly string[]
  /** What it can run. Default everything that was defined. */
  readonly functions?: Registry
  /**
   * How long, by the clock on the wall, a body may wait for something from outside, such as a
   * socket, before time is skipped all the same. Default 5 s.
   */
  readonly patience?: Duration
}

/** What stands in for a function. Give one of `returns`, `throws`, `outcomes` and `does`. */
export interface Instead<A extends unknown[] = any[], R = any> {
  /** What every call answers. */
  readonly returns?: R
  /** What every attempt throws: an error, or its class. */
  readonly throws?: Error | (new () => Error)
  /**
   * What one attempt after another comes to; errors and their classes are thrown, other values
   * answered, and the last one stays. Of a workflow, one for each execution.
   */
  readonly outcomes?: readonly (R | Error | (new () => Error))[]
  /** A function to run. What stands in for a workflow is workflow code. */
  readonly does?: (...args: A) => R | Promise<R>
  /**
   * How long an attempt takes, in the environment's time. Alone, the body itself runs after it.
   */
  readonly takes?: Duration
}

/** When the worker is killed. Without any it is killed now. */
export interface CrashWhen extends When {
  /**
   * Kills it when so many more events have been written, in any history, before it hears that
   * they have.
   */
  readonly afterEvents?: number
}

/** What stands in for a function, until it is removed or the environment is closed. */
export interface Replacement {
  /** Of the function. */
  readonly name: string
  /** The calls of the function, those before the replacement included. */
  readonly calls: Call[]
  /** Lets the function run again, or whatever stood in for it before. */
  remove(): void
}

/**
 * Runs workflows in this process: in memory, with time skipped.
 *
 * The worker, the replay and the bodies are those of production; the engine below is in memory and
 * behaves like the library. Time stands still while code runs, and while nobody waits; it goes to
 * what is due next when somebody waits and nothing can run.
 *
 * While it is open, `client()` is its client.
 *
 * @example
 * ```ts
 * await using env = await WorkflowEnvironment.open()
 * env.replace(charge, { returns: 'receipt 1' })
 * assert.equal(await env.run(order, '4242'), 'receipt 1')
 * ```
 */
export class WorkflowEnvironment implements AsyncDisposable {
  readonly #runner: Runner
  readonly #start: Date
  #former: Client | undefined

  private constructor(options: EnvironmentOptions) {
    const { start = START, prove = 'sample', patience = 5, timeLimit = '36500d' } = options
    if (Number.isNaN(start.getTime())) throw new TypeError('start must be a valid Date')
    if (!['every', 'sample', 'never'].includes(prove)) {
      throw new TypeError(`prove must be "every", "sample" or "never", not '${prove}'`)
    }
    this.#start = start
    this.#runner = new Runner({
      start,
      prove,
      seed: options.seed ?? 0,
      cold: options.cold,
      maxRuns: options.maxRuns ?? 100,
      concurrency: options.concurrency ?? 1000,
      queues: options.queues ?? ['*'],
      functions: options.functions ?? registry,
      timeLimit: 1000 * seconds(timeLimit, { name: 'timeLimit' }),
      patience: 1000 * seconds(patience, { name: 'patience' }),
    })
  }

  // --- life ---

  /**
   * Opens an environment. Close it, or write `await using`.
   *
   * @throws {TypeError} An option makes no sense.
   */
  static async open(options: EnvironmentOptions = {}): Promise<WorkflowEnvironment> {
    const environment = new WorkflowEnvironment(options)
    await environment.#runner.open()
    environment.#former = replaceDefault(environment.#runner.client)
    return environment
  }

  /**
   * Ends it: bodies that run are told to stop, what waits is forgotten, and the proof is made.
   *
   * What happened can still be looked at.
   *
   * @throws {NonDeterminismError} A workflow's code is not deterministic, and nobody was told yet.
   */
  async close(): Promise<void> {
    if (this.#runner.isClosed) return
    await this.#end()
    this.#runner.waiting.throwFailure()
    await this.#runner.prove(this.#runner.engine.rows.values(), { again: false })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Ends it after an error that is not to be hidden by what the proof finds. @internal */
  async abandon(): Promise<void> {
    if (!this.#runner.isClosed) await this.#end()
  }

  async #end(): Promise<void> {
    if (this.#former !== undefined) replaceDefault(this.#former)
    this.#former = undefined
    await this.#runner.close()
  }

  /** The client of this environment; `client()` while it is open. */
  get client(): Client {
    return this.#runner.client
  }

  // --- running ---

  /**
   * Runs a workflow, a job or an activity to its end, and answers its result.
   *
   * @throws {ExecutionFailed} It failed; type, message and remoteStack are those of the code.
   * @throws {ExecutionCancelled} It was cancelled or terminated.
   * @throws {Stuck} Nothing can run and nothing is due; the message says what it waits for.
   * @throws {Endless} It does not come to an end.
   * @throws {NonDeterminismError} Its code did something else when it was replayed.
   *
   * @example
   * ```ts
   * assert.equal(await env.run(order, '4242'), 'paid')
   * ```
   */
  async run<A extends unknown[], R>(fn: Fn<A, R, any, any>, ...args: A): Promise<R> {
    return await this.start(fn, ...args).result()
  }

  /**
   * Starts a workflow, a job or an activity, and answers a handle.
   *
   * It runs while you await something. Time passes when you wait for something in the
   * environment: its result, or time that passes.
   *
   * @throws {PayloadError} An argument is not JSON.
   * @throws {ExecutionFinished} A signal was to go with the start, and the execution that has the
   *   idempotency key is over.
   *
   * @example
   * ```ts
   * const handle = env.start(order.options({ priority: 9 }), '4242')
   * ```
   */
  start<A extends unknown[], R>(fn: Fn<A, R, any, any>, ...args: A): EnvironmentHandle<R> {
    this.#runner.refuseClosed()
    const items = [fn.definition.execution(args)]
    const { results } = this.#runner.perform(Operation.CREATE_EXECUTION, { items })
    const { id, created, signaled } = results[0]
    if (signaled === false) {
      throw new ExecutionFinished(
        `the signal for ${fn.functionName} was not sent: its idempotency key belongs to execution ` +
          `${id}, which is over`,
      )
    }
    return new EnvironmentHandle<R>(this.#runner, id, created)
  }

  /**
   * Answers the handle of an execution that something else has started.
   *
   * @throws {RangeError} There is no such execution.
   */
  handle<R = unknown>(execution: string | Handle<R>): EnvironmentHandle<R> {
    const id = typeof execution === 'string' ? execution : execution.id
    if (!this.#runner.engine.rows.has(id)) throw new RangeError(`no execution has id ${id}`)
    return new EnvironmentHandle<R>(this.#runner, id)
  }

  /** Answers the handles of all executions, or those of one function, the oldest first. */
  executions<R = unknown>(fn?: Fn<any, R, any, any> | string): EnvironmentHandle<R>[] {
    const name = nameOf(fn)
    return [...this.#runner.engine.rows.values()]
      .filter((row) => name === undefined || row.name === name)
      .map((row) => new EnvironmentHandle<R>(this.#runner, row.id))
  }

  // --- time ---

  /** Answers the environment's time. */
  now(): Date {
    return this.#runner.now()
  }

  /** How much time has passed in the environment, in seconds. */
  get elapsed(): number {
    return (this.now().getTime() - this.#start.getTime()) / 1000
  }

  /**
   * Lets time pass, and everything happen that happens until then.
   *
   * With nothing, whatever can run at this moment runs.
   *
   * @example
   * ```ts
   * await env.skip('3d')
   * ```
   */
  async skip(duration: Duration = 0): Promise<void> {
    this.#runner.refuseClosed()
    await this.#runner.waiting.skip(1000 * seconds(duration, { name: 'duration' }))
  }

  /**
   * Runs until a condition holds; it is asked whenever something has happened.
   *
   * @throws {Stuck} Nothing can run and nothing is due, and it does not hold.
   *
   * @example
   * ```ts
   * await env.until(() => handle.getState() === 'packed')
   * ```
   */
  async until(condition: Condition): Promise<void> {
    this.#runner.refuseClosed()
    await this.#runner.waiting.until(condition)
  }

  /**
   * Plans something: a function to call once the time has passed.
   *
   * What it answers is awaited if it can be; what it throws, whoever waits then gets.
   *
   * @example
   * ```ts
   * env.after('2h', () => env.crash())
   * ```
   */
  after(duration: Duration, act: () => unknown): void {
    this.#runner.waiting.after(duration, act)
  }

  /**
   * Plans something for as soon as a condition holds.
   *
   * The condition is asked whenever something has happened, until it holds.
   */
  when(condition: Condition, act: () => unknown): void {
    this.#runner.waiting.when(condition, act)
  }

  // --- what stands in, and what was called ---

  /**
   * Has something else run instead of the body of an activity, a step, a job or a workflow.
   *
   * Everything around it stays as it is: retries, timeouts, cancellation, what is JSON and what is
   * not. Without it bodies run for real.
   *
   * @param fn The function, or the name of one that is not here, as of another language.
   * @param instead What runs instead.
   *
   * @example
   * ```ts
   * env.replace(charge, { outcomes: [BankBusy, BankBusy, 'receipt 1'], takes: '20s' })
   * ```
   */
  replace<A extends unknown[], R, T>(
    fn: Durable<A, R, T>,
    instead: Instead<A, R | Awaited<T>>,
  ): Replacement
  replace(fn: string, instead: Instead): Replacement
  replace(fn: Durable | string, instead: Instead): Replacement {
    const of = typeof fn === 'string' ? { name: fn } : { name: fn.functionName, kind: fn.kind }
    const takes = seconds(instead.takes ?? 0, { name: 'takes' })
    const double = new Double({ ...of, ...outcomesOf(instead), takes: 1000 * takes })
    const { doubles } = this.#runner
    doubles.add(double)
    const calls = () => this.calls(of.name)
    return {
      name: of.name,
      get calls() {
        return calls()
      },
      remove: () => doubles.remove(double),
    }
  }

  /**
   * Answers what was called, in the order in which the bodies began.
   *
   * Of workflows it has the executions, in the order in which they were made.
   *
   * @param fn The function or its name; default all activities, steps and jobs.
   *
   * @example
   * ```ts
   * const [call] = env.calls(charge)
   * assert.deepEqual(call?.args, ['4242', 100])
   * ```
   */
  calls(fn?: Durable | string): Call[] {
    const { calls, engine } = this.#runner
    const name = nameOf(fn)
    if (name === undefined) return [...calls.calls]
    const found = calls.calls.filter((call) => call.name === name)
    return found.length > 0 ? found : callsOfWorkflows(engine, name)
  }

  // --- what goes wrong ---

  /**
   * Kills the worker, as kill -9 would: now, after a time, on a condition, or in a write.
   *
   * Nothing that its code waits for in the environment comes any more, so none of it goes on. Ten
   * seconds later its death is noticed, and the next worker goes on from what was recorded. What a
   * body awaits from outside cannot be kept from it: it goes on then, and its result is dropped.
   *
   * @example
   * ```ts
   * env.crash({ afterEvents: 3 })
   * assert.equal(await env.run(order, '4242'), 'paid')
   * ```
   */
  crash({ after, when, afterEvents }: CrashWhen = {}): void {
    const { waiting } = this.#runner
    const act = () => this.#runner.crash()
    if (afterEvents !== undefined) waiting.afterEvents(afterEvents, act)
    else if (when !== undefined) waiting.when(when, act)
    else if (after !== undefined) waiting.after(after, act)
    else act()
  }

  /**
   * Replays prefixes of every history, and compares what the code asks for.
   *
   * It is done for a workflow when its result is asked for, and for the rest when the environment
   * is closed.
   *
   * @throws {NonDeterminismError} The code did something else than before.
   */
  async prove(): Promise<void> {
    await this.#runner.prove(this.#runner.engine.rows.values())
  }
}

/**
 * Opens an environment, calls a function with it, and closes it.
 *
 * Where the function throws, its error is not hidden by what the proof finds.
 *
 * @example
 * ```ts
 * test('an order is paid', () =>
 *   withEnvironment(async (env) => {
 *     assert.equal(await env.run(order, '4242'), 'paid')
 *   }))
 * ```
 */
export async function withEnvironment<T>(test: EnvironmentTest<T>): Promise<T>
export async function withEnvironment<T>(
  options: EnvironmentOptions,
  test: EnvironmentTest<T>,
): Promise<T>
export async function withEnvironment<T>(
  first: EnvironmentOptions | EnvironmentTest<T>,
  second?: EnvironmentTest<T>,
): Promise<T> {
  const [options, test] = typeof first === 'function' ? [{}, first] : [first, second]
  const environment = await WorkflowEnvironment.open(options)
  try {
    const answer = await (test as EnvironmentTest<T>)(environment)
    await environment.close()
    return answer
  } finally {
    await environment.abandon()
  }
}

/** What `withEnvironment` calls. */
export type EnvironmentTest<T> = (env: WorkflowEnvironment) => T | Promise<T>

function nameOf(fn: Durable | string | undefined): string | undefined {
  return typeof fn === 'string' ? fn : fn?.functionName
}

function outcomesOf(instead: Instead): { outcomes: readonly unknown[]; does?: Body | undefined } {
  const { does, throws } = instead
  const given = (['returns', 'throws', 'outcomes', 'does'] as const).filter((way) => way in instead)
  if (given.length > 1) {
    throw new TypeError('give one of returns, throws, outcomes and does')
  }
  if ('throws' in instead && !(throws instanceof Error) && !isErrorClass(throws)) {
    throw new TypeError(`throws must be an error or its class, not ${String(throws)}`)
  }
  if (instead.outcomes?.length === 0) throw new TypeError('outcomes must have one at least')
  if (does !== undefined) return { outcomes: [ITS_OWN], does: plainOf(does) }
  const one = 'returns' in instead ? instead.returns : (throws ?? ITS_OWN)
  return { outcomes: instead.outcomes ?? [one] }
}

function plainOf(does: Body): Body {
  const { definition } = does as Partial<Durable>
  return definition?.plain ?? does
}
