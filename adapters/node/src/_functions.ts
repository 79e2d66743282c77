/**
 * Functions that run durably: their definitions and their options.
 *
 * ```ts
 * const charge = activity({ name: 'charge', retries: 5, timeout: '30s' },
 *   async (card: string, cents: number): Promise<string> => { ... })
 *
 * const order = workflow({ name: 'order', queue: 'orders' }, async (card: string) => {
 *   return await charge.run(card, 100)
 * })
 *
 * const handle = await order.queue('4242') // from anywhere
 * assert(await charge('4242', 1))          // the plain function, for unit tests
 * ```
 */

import { type Client, client, POLL_MS } from './_client'
import { ExecutionFinished, WorkflowsError } from './_errors'
import { Handle, outcomeOf } from './_handles'
import { active } from './_loop'
import type { Created, NewExecution } from './_operations'
import {
  type BodyOptions,
  checked,
  executionFields,
  type Kind,
  type Named,
  nameOf,
  type Options,
  type StepOptions,
  type WorkflowOptions,
} from './_options'
import { adapt, type Json, plainArguments } from './_payload'
import { definitionPlace } from './_places'
import { registry } from './_registry'
import { currentTry } from './_tries'
import type { Wire } from './_wire_types'

/** Any function that can be a body. */
export type Body<A extends unknown[] = any[], T = unknown> = (...args: A) => T

/** What functions of every kind have, those that can be queued and steps. */
export interface Durable<A extends unknown[] = any[], R = any, T = unknown> {
  /** Runs the plain function, with nothing durable about it. */
  (...args: A): T
  /** job, activity, step or workflow. */
  readonly kind: Kind
  /** The name that executions find it by. */
  readonly functionName: string

  /**
   * Runs durably and answers the result.
   *
   * Outside a workflow it enqueues the function and waits. Inside, it is a durable call: the
   * command is given when `.run()` is called, not when its answer is awaited, so several calls
   * run side by side if they are awaited later. One that is never awaited does not keep the
   * workflow from finishing, and is cancelled when the workflow ends, unless it was called with
   * `.options({ closePolicy: 'detach' })`.
   *
   * @throws {PayloadError} An argument is not JSON; it names the path of the value.
   * @throws {ActivityError} Inside a workflow, the function failed for good.
   * @throws {ExecutionFailed} Outside, the function failed for good.
   */
  run(...args: A): Promise<R>

  /** What the rest of this package knows of it. @internal */
  readonly definition: DurableFunction
}

/**
 * A function that can run durably.
 *
 * `.run()` enqueues it and waits for its result; inside a workflow it is a durable call.
 * `.queue()` enqueues it and answers a handle at once. Calling the function itself runs the
 * plain function, with nothing durable about it.
 *
 * Once accepted, a body runs *at least* once: a worker that dies after the body and before its
 * result was recorded makes another one run it again.
 *
 * Arguments and results travel as JSON. What arrives of the result is in the types: a Date has become
 * text; see `Wire`. The parameters are what a caller may pass, and not what arrives: a body whose
 * parameter is declared as a Date gets its ISO text, so declare it `Date | string`, or as text.
 *
 * @typeParam A Its parameters.
 * @typeParam R Its result, as it arrives.
 * @typeParam O Its options.
 * @typeParam T What a plain call answers, which is the body's own result.
 */
export interface Fn<A extends unknown[] = any[], R = any, O = Options, T = unknown>
  extends Durable<A, R, T> {
  /**
   * Enqueues and answers a handle, without waiting for the result.
   *
   * Inside a workflow the execution becomes a child. It is cancelled when the workflow ends
   * first, unless it was started with `.options({ closePolicy: 'detach' })`.
   */
  queue(...args: A): Promise<Handle<R>>

  /**
   * Answers the same function with other options.
   *
   * The original is left alone, so the answer can be kept and used often.
   *
   * @throws {TypeError} An unknown option, or one of the wrong type.
   * @throws {RangeError} An option out of its range.
   *
   * @example
   * ```ts
   * const cart = shopping.options({ idempotencyKey: 'cart-7', signal: ['add', item] })
   * const handle = await cart.queue('cart-7') // starts it, or adds to the one that runs
   * await sendMail.options({ delay: '5m', priority: 9 }).queue('a@example.org')
   * ```
   */
  options(options: O): Fn<A, R, O, T>
}

/** A step: it runs inside a workflow's own worker, so it cannot be queued. */
export interface StepFn<A extends unknown[] = any[], R = any, T = unknown>
  extends Durable<A, R, T> {
  /**
   * Answers the same step with other options.
   *
   * @throws {TypeError} An unknown option, or one of the wrong type.
   * @throws {RangeError} An option out of its range.
   */
  options(options: StepOptions): StepFn<A, R, T>
}

/** A function of another language, or of another package: it can be called, and not run here. */
export type ExternalFn<F extends Body, O = Options> = Fn<
  Parameters<F>,
  Wire<Awaited<ReturnType<F>>>,
  O,
  never
>

/** Answers the client of the running function's worker, or the default one. */
export function home(): Client {
  return currentTry()?.client ?? client()
}

/** A function that can run durably, as the worker and the replay see it. */
export class DurableFunction {
  readonly kind: Kind
  readonly functionName: string
  /** The body. */
  readonly plain: Body
  readonly optionsSet: Named<Options>
  /** Where it was defined, as FILE:LINE:COLUMN. */
  readonly place: string
  /** Whether that was at the top level of a module. */
  readonly isTopLevel: boolean
  /** Whether the body is elsewhere, so that no worker of this process can run it. */
  readonly isExternal: boolean
  #template: NewExecution | undefined

  constructor(parts: FunctionParts) {
    this.kind = parts.kind
    this.plain = parts.plain
    this.optionsSet = checked(parts.kind, parts.options, { definition: true })
    this.functionName = nameOf(parts.kind, parts.plain, this.optionsSet)
    this.place = parts.place
    this.isTopLevel = parts.isTopLevel
    this.isExternal = parts.isExternal
  }

  /** Answers the same function with other parts, such as a double's body. */
  with(changes: { readonly plain?: Body; readonly options?: Named<Options> }): DurableFunction {
    const options = { ...this.optionsSet, name: this.functionName, ...changes.options }
    return new DurableFunction({ ...this, ...changes, options })
  }

  /** Answers the new execution that a call with these arguments asks for. */
  execution(args: readonly unknown[], { awaited = false } = {}): NewExecution {
    if (this.kind === 'step') {
      throw new TypeError(
        `${this.functionName} is a step, which runs inside a workflow's own worker and cannot be queued;` +
          ' make it an activity',
      )
    }
    const positional = this.arguments(args)
    const request = this.request()
    if (positional.length > 0) request.args = positional
    if (awaited) request.awaited = true
    return request
  }

  /** Answers the fields of a new execution that its options decide. */
  request(): NewExecution {
    this.#template ??= executionFields(this.kind, this.functionName, this.optionsSet)
    return { ...this.#template }
  }

  /**
   * Answers the arguments as plain JSON: a copy, which later changes do not reach.
   *
   * @throws {PayloadError} One of them is not JSON; it names the path.
   */
  arguments(args: readonly unknown[]): Json[] {
    return plainArguments(args)
  }

  /**
   * Answers received arguments.
   *
   * @throws {PayloadError} JavaScript cannot hold them.
   * @throws {TypeError} Some are given by name, which JavaScript does not know.
   */
  adapted(args: unknown, kwargs: unknown): any[] {
    const [named] = Object.keys(adapt(kwargs, 'kwargs') ?? {})
    if (named !== undefined) {
      throw new TypeError(
        `${this.functionName}(): it was called with the keyword argument '${named}', and functions in` +
          ' JavaScript have none; pass it by position',
      )
    }
    return adapt(args, 'args') ?? []
  }

  toString(): string {
    return `<${this.kind} ${this.functionName} at ${this.place}>`
  }
}

/** What a DurableFunction is made of. */
export interface FunctionParts {
  readonly kind: Kind
  readonly plain: Body
  readonly options: Named<Options>
  readonly place: string
  readonly isTopLevel: boolean
  readonly isExternal: boolean
}

// --- calling ------------------------------------------------------------------------------

/** Makes the function that users hold. */
export function callable(definition: DurableFunction): Fn {
  const plain = definition.plain
  const run = (...args: unknown[]) => told(run, () => called(definition, args))
  const queue = (...args: unknown[]) => told(queue, () => queued(definition, args))
  const members: Omit<Fn, never> = {
    kind: definition.kind,
    functionName: definition.functionName,
    definition,
    run,
    queue,
    options: (options) => callable(definition.with({ options: checked(definition.kind, options) })),
  }
  const fn = (...args: unknown[]): unknown => plain(...args)
  Object.defineProperty(fn, 'name', { value: definition.functionName, configurable: true })
  return Object.assign(fn, members) as Fn
}

/** A mistake in the arguments comes by the promise, and with the stack of the caller. */
function told<T>(caller: (...args: never[]) => unknown, call: () => Promise<T>): Promise<T> {
  try {
    return call()
  } catch (error) {
    if (error instanceof WorkflowsError) Error.captureStackTrace(error, caller)
    return Promise.reject(error)
  }
}

// Not async: inside a workflow the very promise of the replay must reach the code, for the
// combinators know it.
function called(definition: DurableFunction, args: unknown[]): Promise<any> {
  const replay = active()
  if (replay !== undefined) return replay.call(definition, args)
  if (definition.kind === 'step') return runPlainly(definition, args)
  return ran(definition, definition.execution(args, { awaited: true }))
}

function queued(definition: DurableFunction, args: unknown[]): Promise<Handle<any>> {
  const replay = active()
  if (replay !== undefined) return replay.start(definition, args)
  return enqueue(definition, definition.execution(args))
}

async function runPlainly(definition: DurableFunction, args: unknown[]): Promise<unknown> {
  return await definition.plain(...args)
}

/** Starts it and waits for its end, in one call unless that takes long. */
async function ran(definition: DurableFunction, request: NewExecution): Promise<unknown> {
  const client = home()
  const [created] = (await client.submit([request], POLL_MS)) as [Created]
  const { outcome } = created
  if (outcome?.status === 'completed' && created.signaled === undefined) {
    return adapt(outcome.result, 'result') // as nearly all end
  }
  const handle = handleOf(definition, created, client)
  return outcome === undefined ? await handle.result() : outcomeOf({ id: created.id, ...outcome })
}

async function enqueue(definition: DurableFunction, request: NewExecution): Promise<Handle> {
  const client = home()
  const [created] = await client.submit([request])
  return handleOf(definition, created as Created, client)
}

function handleOf(definition: DurableFunction, created: Created, client: Client): Handle {
  if (created.signaled === false) {
    throw new ExecutionFinished(
      `the signal for ${definition.functionName} was not sent: its idempotency key belongs to execution` +
        ` ${created.id}, which is over; use another key to start a new one`,
    )
  }
  return new Handle(created.id, { created: created.created, client })
}

// --- defining -----------------------------------------------------------------------------

/**
 * How functions of one kind are defined.
 *
 * The body is taken as a whole, and compared with no signature: any would give its own types to
 * parameters that have none but their defaults'.
 */
export interface Define<O> {
  /** A named function, without options. */
  <F extends CallableFunction>(
    body: F,
  ): Fn<ParametersOf<F>, Wire<Awaited<AnswerOf<F>>>, O, AnswerOf<F>>
  /** A function with its options, or with its name alone. */
  <F extends CallableFunction>(
    options: string | Named<O>,
    body: F,
  ): Fn<ParametersOf<F>, Wire<Awaited<AnswerOf<F>>>, O, AnswerOf<F>>
}

/** How steps are defined. */
export interface DefineStep {
  /** A named function, without options. */
  <F extends CallableFunction>(
    body: F,
  ): StepFn<ParametersOf<F>, Wire<Awaited<AnswerOf<F>>>, AnswerOf<F>>
  /** A function with its options, or with its name alone. */
  <F extends CallableFunction>(
    options: string | Named<StepOptions>,
    body: F,
  ): StepFn<ParametersOf<F>, Wire<Awaited<AnswerOf<F>>>, AnswerOf<F>>
}

type ParametersOf<F> = F extends (...args: infer A) => unknown ? A : never
type AnswerOf<F> = F extends (...args: never[]) => infer T ? T : never

/** How functions are defined that can also live elsewhere. */
export interface DefineQueued<O> extends Define<O> {
  /**
   * Declares a function that lives elsewhere: in another language, or in another package.
   *
   * It has no body: `.run()` and `.queue()` work, a plain call does not, and no worker of this
   * process runs it.
   *
   * @typeParam F Its signature.
   * @param options Its name, or its options with the name.
   *
   * @example
   * ```ts
   * const printLabel = activity.external<(item: string) => string>({
   *   name: 'print_label',
   *   queue: 'warehouse',
   * })
   * ```
   */
  external<F extends Body>(
    options: string | (Named<O> & { readonly name: string }),
  ): ExternalFn<F, O>
}

function define<O extends object>(kind: Kind): Define<O> {
  const defined = (first: unknown, second?: unknown): Fn => {
    const [options, body] = sorted(kind, first, second)
    const definition = new DurableFunction({
      kind,
      plain: body,
      options,
      ...definitionPlace(),
      isExternal: false,
    })
    registry.add(definition)
    return callable(definition)
  }
  return defined as Define<O>
}

function defineQueued<O extends object>(kind: Kind): DefineQueued<O> {
  const external = (options: string | Named<Options>): Fn => {
    const given = typeof options === 'string' ? { name: options } : options
    const plain = () => {
      throw new TypeError(
        `${given.name} is external: its code lives elsewhere; use run() or queue()`,
      )
    }
    const parts = { kind, plain, options: given, ...definitionPlace(), isExternal: true }
    return callable(new DurableFunction(parts))
  }
  return Object.assign(define<O>(kind), { external }) as unknown as DefineQueued<O>
}

/** Sorts out which argument is which. */
function sorted(kind: Kind, first: unknown, second: unknown): [Named<Options>, Body] {
  const [options, body] = second === undefined ? [{}, first] : [first, second]
  if (typeof body !== 'function') {
    throw new TypeError(`${kind}() takes a function, as in ${kind}({ queue: 'mail' }, send)`)
  }
  if ('definition' in body && body.definition instanceof DurableFunction) {
    throw new TypeError(`${body.definition} is defined already; define each function once`)
  }
  if (/GeneratorFunction$/.test(body.constructor.name)) {
    throw new TypeError(`${kind}() cannot take the generator ${body.name}; return an array`)
  }
  const named = typeof options === 'string' ? { name: options } : options
  if (typeof named !== 'object' || named === null) {
    throw new TypeError(`${kind}() takes options or a name before the function`)
  }
  return [named, body as Body]
}

/**
 * Makes a job: a function that is queued by itself.
 *
 * It runs *at least* once on some worker of its queue, and again after a failure as its retries
 * allow.
 *
 * @example
 * ```ts
 * const sendMail = job({ name: 'sendMail', queue: 'mail', retries: 5, timeout: '30s' },
 *   async (to: string) => { ... })
 * await sendMail.queue('a@example.org')
 * ```
 */
export const job: DefineQueued<BodyOptions> = defineQueued<BodyOptions>('job')

/**
 * Makes an activity: a function with effects, that workflows call.
 *
 * It is an execution of its own, on any worker, and runs *at least* once.
 *
 * @example
 * ```ts
 * const charge = activity({ name: 'charge', retries: 5, timeout: '30s' },
 *   async (card: string, cents: number): Promise<string> => { ... })
 * ```
 */
export const activity: DefineQueued<BodyOptions> = defineQueued<BodyOptions>('activity')

/**
 * Makes a step: a short function with effects that runs inside the workflow's own worker.
 *
 * Its result is one event of the workflow's history, so it costs one write where an activity
 * costs several. It runs *at least* once. It holds the workflow's slot while it runs: what takes
 * long belongs into an activity.
 *
 * @example
 * ```ts
 * const readConfig = step('readConfig', async (path: string) => await readFile(path, 'utf8'))
 * ```
 */
export const step: DefineStep = define<StepOptions>('step')

/**
 * Makes a workflow: a function that survives its worker.
 *
 * Its code is a pure function of its history: it is run again from the start, with recorded
 * results, whenever it goes on elsewhere. So it must not read clocks, random numbers, files or
 * the network itself; it calls activities and steps for that, and `now()`, `uuid4()` and
 * `random()` of this package.
 *
 * @example
 * ```ts
 * const order = workflow({ name: 'order', queue: 'orders', timeout: '24h' },
 *   async (card: string) => await charge.run(card, 100))
 * ```
 */
export const workflow: DefineQueued<WorkflowOptions> = defineQueued<WorkflowOptions>('workflow')
