/** What durable calls answer, and what a workflow asks for. */

import { type Cancellable, cancellableOf, type Scope, Wait } from './_cancelling'
import { blake2b } from './_chance'
import type { DurableFunction } from './_functions'
import type { Claimed, Command } from './_operations'
import {
  ActivityCancelled,
  ActivityError,
  ActivityTimeout,
  ChildCancelled,
  ChildFailed,
  ChildTimeout,
  StepError,
} from './_outcomes'
import type { Json } from './_payload'
import type { WireError } from './_wire_errors'

/** A durable function, as the replay and the worker see it. */
export type Callee = DurableFunction

const TIMEOUTS = new Set(['ExecutionTimeout', 'ScheduleTimeout', 'AttemptTimeout'])

/** A durable wait whose command has been given already. */
export class Call<R = unknown> extends Wait<R> {
  /** Of the child, once history tells. */
  id = ''
  sequence = 0

  constructor(
    scope: Scope,
    readonly kind: 'activity' | 'child' | 'step' | 'timer' | 'signal',
    readonly name: string,
  ) {
    super(scope)
  }

  /** Cancels what the call asked for and ends the wait for it, as the code itself asked. */
  stop(): void {
    this.scope.replay.asked.stop(this as Call)
  }

  protected override abandoned(): void {
    this.scope.replay.abandoned(this as Call)
  }
}

/** Answers the call behind a promise, undefined if it is none of a durable call. */
export function callOf(promise: unknown): Call | undefined {
  const found: Cancellable | undefined = cancellableOf(promise)
  return found instanceof Call ? found : undefined
}

/** A step that the worker is to run. */
export interface StepCall {
  readonly call: Call
  readonly function: Callee
  readonly args: unknown[]
}

/** What a run of a workflow leaves to the next. */
export interface NextRun {
  readonly args: Json[]
  readonly kwargs: Record<string, never>
  readonly carry: number[]
}

/** What a workflow asks for when it waits, or is done. */
export interface Turn {
  readonly then: 'keep' | 'suspend' | 'complete' | 'fail' | 'continue' | 'park'
  readonly commands: Command[]
  readonly steps: StepCall[]
  readonly result?: Json | undefined
  readonly error?: WireError | undefined
  readonly message: string
  readonly nextRun?: NextRun | undefined
}

/** Ends a run of a workflow, for the next one to begin. */
export interface ContinueAsNew {
  readonly args: Json[]
}

/**
 * Answers what an unsuccessful end throws at the await.
 *
 * Activities and children report \{"error", "attempts"\}, steps the error itself.
 */
export function failureOf(call: Call, payload: unknown): Error {
  const told = objectOf(payload)
  const error = objectOf(told.error ?? told) as Partial<WireError>
  if (call.kind === 'step') {
    return StepError.of(error, numberOf(objectOf(error.details).attempts))
  }
  const timedOut = TIMEOUTS.has(error.type ?? '')
  if (call.kind === 'child') {
    return (timedOut ? ChildTimeout : ChildFailed).of(error, call.id)
  }
  return (timedOut ? ActivityTimeout : ActivityError).of(error, numberOf(told.attempts))
}

/** Answers what is thrown when somebody cancelled what the call waits for. */
export function cancellationOf(call: Call, payload?: unknown): Error {
  const told = objectOf(payload)
  const reason = objectOf(told.error).message
  const what = `${call.kind} ${call.name} was cancelled${reason ? `: ${reason}` : ''}`
  return call.kind === 'child'
    ? new ChildCancelled('Cancelled', what, call.id)
    : new ActivityCancelled('Cancelled', what, numberOf(told.attempts))
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 1
}

// The commands whose failures these errors tell of.
const failures = new WeakMap<object, number>()

/** Notes of which command an error is the failure, and answers the error. */
export function failureAt(error: Error, sequence: number): Error {
  failures.set(error, sequence)
  return error
}

/** Answers the command whose failure went uncaught, for a retry to ask for it anew. */
export function sequenceOf(error: unknown): number | undefined {
  const seen = new Set<object>()
  const ahead = [error]
  while (ahead.length > 0) {
    const each = ahead.pop()
    if (typeof each !== 'object' || each === null || seen.has(each)) continue
    seen.add(each)
    const sequence = failures.get(each)
    if (sequence !== undefined) return sequence
    ahead.push((each as Error).cause)
    if (each instanceof AggregateError) ahead.push(...each.errors.toReversed())
  }
  return undefined
}

/** Answers plain JSON that later changes of the original do not reach. */
export function frozen<T>(value: T): T {
  if (Array.isArray(value)) return value.map(frozen) as T
  if (typeof value !== 'object' || value === null) return value
  const copy: Record<string, unknown> = {}
  for (const [key, each] of Object.entries(value)) define(copy, key, frozen(each))
  return copy as T
}

/**
 * Answers a step's arguments as they are now.
 *
 * What its body does to them must not reach the workflow: a replay would not do it. What is no
 * plain value, such as a connection, is handed over as it is.
 */
export function own<T>(value: T, seen = new Map<unknown, unknown>()): T {
  if (typeof value !== 'object' || value === null) return value
  if (seen.has(value)) return seen.get(value) as T
  const copy = emptyOf(value)
  if (copy === undefined) return value
  seen.set(value, copy)
  if (Array.isArray(copy)) for (const each of value as unknown[]) copy.push(own(each, seen))
  else if (copy instanceof Map)
    for (const [key, each] of value as any) copy.set(key, own(each, seen))
  else if (copy instanceof Set) for (const each of value as any) copy.add(own(each, seen))
  else if (!(copy instanceof Date)) {
    for (const [key, each] of Object.entries(value)) define(copy, key, own(each, seen))
  }
  return copy as T
}

function emptyOf(value: object): object | undefined {
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Array.prototype) return []
  if (prototype === Object.prototype || prototype === null) return Object.create(prototype)
  if (prototype === Date.prototype) return new Date((value as Date).getTime())
  if (prototype === Map.prototype) return new Map()
  return prototype === Set.prototype ? new Set() : undefined
}

function define(object: object, key: string, value: unknown): void {
  if (key !== '__proto__') (object as Record<string, unknown>)[key] = value
  else
    Object.defineProperty(object, key, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    })
}

/** A UUIDv7 of the workflow's time that is the same if a lost command is given again. */
export function childId(claimed: Claimed, sequence: number, atMs: number): string {
  const seed = `${claimed.id}:${claimed.run ?? 1}:${sequence}`
  const hash = Buffer.from(blake2b(Buffer.from(seed), 10))
  const time = atMs.toString(16).padStart(12, '0')
  hash[0] = ((hash[0] ?? 0) & 0x0f) | 0x70
  hash[2] = ((hash[2] ?? 0) & 0x3f) | 0x80
  const rest = hash.toString('hex')
  return [time.slice(0, 8), time.slice(8), rest.slice(0, 4), rest.slice(4, 8), rest.slice(8)].join(
    '-',
  )
}

/** Makes what a workflow asks for in one turn. */
export function asking(then: Turn['then'], asked: Partial<Turn> = NOTHING): Turn {
  // Always the same members in the same order, which is what makes it quick to read.
  return {
    then,
    commands: asked.commands ?? [],
    steps: asked.steps ?? [],
    message: asked.message ?? '',
    result: asked.result,
    error: asked.error,
    nextRun: asked.nextRun,
  }
}

const NOTHING: Partial<Turn> = {}

/** Answers the command to start an activity or a child. */
export function scheduling(fn: Callee, sequence: number, args: Json[], queue: string | undefined) {
  const execution = fn.request()
  execution.queue ??= queue ?? 'default'
  if (args.length > 0) execution.args = args
  const command = { type: 'schedule' as const, sequence, execution }
  const { closePolicy } = fn.optionsSet
  return closePolicy === undefined ? command : { ...command, close_policy: closePolicy }
}

/** Refuses options that have no meaning inside a workflow. */
export function refuseOptions(fn: Callee): void {
  for (const option of ['idempotencyKey', 'signal'] as const) {
    if (fn.optionsSet[option] === undefined) continue
    throw new RangeError(
      `${option} has no meaning for ${fn.functionName} inside a workflow: it is started once anyway, and ` +
        'its handle has signal()',
    )
  }
}

/** How the code of a workflow has ended. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown }
