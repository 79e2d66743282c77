/** What stands in for bodies and workflows. */

import { type Attempt, Bodies, type Body as BodyCode, type Called, type Ended } from '../_attempts'
import type { Client } from '../_client'
import { type Body as Code, DurableFunction } from '../_functions'
import type { Kind } from '../_options'
import { Registry } from '../_registry'
import { sleep, workflowInfo } from '../_workflow'
import { Body, bodies, type Forget, type Later, type Life } from './_bodies'
import type { CallLog } from './_calls'
import { unasked } from './_outside'

/** Nothing was said about the outcome: the body itself runs. */
export const ITS_OWN = Symbol('its own')

/** What a double is made of. */
export interface DoubleParts {
  /** Of the function. */
  readonly name: string
  /** Its kind; undefined for any. */
  readonly kind?: Kind | undefined
  /** A function to run instead. */
  readonly does?: Code | undefined
  /**
   * What each attempt comes to, one after another; the last one stays. Errors and their classes
   * are thrown, everything else is answered.
   */
  readonly outcomes: readonly unknown[]
  /** How long an attempt takes, in milliseconds. */
  readonly takes: number
}

/** What stands in for the body of one function. */
export class Double {
  readonly name: string
  readonly #parts: DoubleParts
  readonly #given = new Map<string, unknown>()
  #next = 0

  constructor(parts: DoubleParts) {
    this.#parts = parts
    this.name = parts.name
  }

  /** Whether it stands in for this function. */
  standsFor(kind: string, name: string): boolean {
    return name === this.name && (this.#parts.kind ?? kind) === kind
  }

  /** Makes an attempt, as a body; `plain` is the body that it stands in for. */
  async attempt(body: Body, attempt: Attempt, { fn, args }: Called): Promise<unknown> {
    const { takes, does } = this.#parts
    if (takes > 0) await body.sleep(takes, attempt.controller.signal)
    const outcome = this.#take()
    if (outcome !== ITS_OWN) return comeTo(outcome)
    return await (does ?? fn.plain)(...args)
  }

  /** Runs as a workflow: each execution has its outcome, however often it is replayed. */
  async run(plain: Code | undefined, args: readonly unknown[]): Promise<unknown> {
    const { id } = workflowInfo()
    const { takes, does } = this.#parts
    if (!this.#given.has(id)) this.#given.set(id, this.#take())
    const outcome = this.#given.get(id)
    if (takes > 0) await sleep(takes / 1000)
    return outcome === ITS_OWN ? await (does ?? plain)?.(...args) : comeTo(outcome)
  }

  #take(): unknown {
    const { outcomes } = this.#parts
    const outcome = outcomes[Math.min(this.#next, outcomes.length - 1)]
    this.#next += 1
    return outcome
  }
}

function comeTo(outcome: unknown): unknown {
  if (outcome instanceof Error) throw outcome
  if (isErrorClass(outcome)) throw new outcome()
  return outcome
}

/** Whether a value is Error or a class that extends it. */
export function isErrorClass(value: unknown): value is new () => Error {
  if (typeof value !== 'function') return false
  return value === Error || value.prototype instanceof Error
}

/** All that stands in, the latest first. */
export class Doubles {
  readonly #doubles: Double[] = []

  /** Puts one in front of those that there are. */
  add(double: Double): void {
    this.#doubles.unshift(double)
  }

  /** Takes one away. */
  remove(double: Double): void {
    const at = this.#doubles.indexOf(double)
    if (at >= 0) this.#doubles.splice(at, 1)
  }

  /** Answers what stands in for a function. */
  find(kind: string, name: string): Double | undefined {
    return this.#doubles.find((double) => double.standsFor(kind, name))
  }
}

/** The functions of a registry; some stand in for code that is not here. */
export class Functions extends Registry {
  readonly #base: Registry
  readonly #doubles: Doubles

  constructor(base: Registry, doubles: Doubles) {
    super()
    this.#base = base
    this.#doubles = doubles
  }

  /** Answers the function that an execution runs. */
  override find(kind: string, name: string): DurableFunction | undefined {
    const found = this.#base.find(kind, name)
    const double = this.#doubles.find(kind, name)
    if (double === undefined) return found
    if (kind !== 'workflow') return found ?? standIn(kind, name, nothing) // where it runs
    const plain = (...args: unknown[]) => double.run(found?.plain, args)
    return found?.with({ plain }) ?? standIn(kind, name, plain)
  }

  /** Whether something stands in for a workflow's code. */
  isDouble(name: string): boolean {
    return this.#doubles.find('workflow', name) !== undefined
  }

  override names(): Record<string, string[]> {
    return this.#base.names()
  }

  override get size(): number {
    return this.#base.size
  }
}

function nothing(): never {
  throw new Error('this body is always replaced')
}

function standIn(kind: string, name: string, plain: Code): DurableFunction {
  const parts = { kind: kind as Kind, plain, options: { name }, place: 'a replacement' }
  return new DurableFunction({ ...parts, isTopLevel: false, isExternal: false })
}

/** What bodies need of their environment. */
export interface Recording {
  readonly doubles: Doubles
  readonly calls: CallLog
  readonly later: Later
  /** A body is about to begin. */
  readonly begins: () => void
  /** Something has happened, so that time is not skipped yet. */
  readonly stir: () => void
}

/** Runs bodies or what stands in for them, and notes what was called. */
export class RecordedBodies extends Bodies {
  readonly running = new Set<Body>()
  readonly #recording: Recording
  readonly #keyOf: (attempt: Attempt) => string
  readonly #life: Life = { isKilled: false }

  constructor(
    client: Client,
    freed: () => void,
    recording: Recording,
    keyOf: (attempt: Attempt) => string,
  ) {
    super(client, freed)
    this.#recording = recording
    this.#keyOf = keyOf
  }

  override async run(
    code: BodyCode,
    attempt: Attempt,
    timeout?: number,
    called?: Called,
  ): Promise<Ended> {
    if (called === undefined || attempt.isGivenUp) return await super.run(code, attempt, timeout)
    const { doubles, calls, begins, stir, later } = this.#recording
    const { fn, args } = called
    const call = calls.began(this.#keyOf(attempt), attempt.claimed.id, fn, args)
    const double = doubles.find(fn.kind, fn.functionName)
    const body = new Body(`${fn.kind} '${fn.functionName}'`, later, this.#life)
    const instead = double === undefined ? code : () => double.attempt(body, attempt, called)
    begins()
    this.running.add(body)
    const [ok, value] = await super.run(() => bodies.run(body, instead), attempt, timeout, called)
    this.running.delete(body)
    unasked(body)
    stir()
    if (!body.isKilled) calls.ended(call, ok, value)
    return [ok, value]
  }

  /** Answers the middle: the delays of an environment have no jitter. */
  override spread(): number {
    return 0
  }

  override later(delay: number, act: () => void): Forget {
    return this.#recording.later(delay, 'the time of an attempt', () => {
      if (!this.#life.isKilled) act()
    })
  }

  /** Ends all bodies: nothing that the environment brings about reaches them any more. */
  kill(): void {
    this.#life.isKilled = true
  }
}
