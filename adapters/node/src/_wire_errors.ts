/** Errors on the wire, both ways: faults of the library, and what functions threw. */

import * as errors from './_errors'
import { WorkflowsError } from './_errors'
import { FAULT_CODES } from './_operations'
import { type Json, plain, Unreadable } from './_payload'
import { isOurs } from './_places'

export const MAX_ERROR_BYTES = 64 * 1024
export const MAX_CAUSES = 8

const MAX_TYPE = 255
const MAX_DETAILS = 8 * 1024
const MAX_FRAMES = 64
const LANGUAGE = 'node'

/** An error as it goes over the wire. */
export interface WireError {
  type: string
  message: string
  stack?: string
  cause?: WireError
  non_retryable?: boolean
  details?: { [name: string]: Json }
  language?: string
  /** The command whose failure went uncaught, if one did; of workflows only. */
  sequence?: number
}

/** What may be said about a RemoteError. */
export interface RemoteErrorOptions {
  readonly stack?: string
  readonly language?: string | undefined
  readonly nonRetryable?: boolean
  readonly details?: Readonly<Record<string, unknown>> | undefined
  readonly cause?: RemoteError | undefined
}

/**
 * An error as it was sent: thrown by a function elsewhere, perhaps in another language.
 *
 * Its `stack` is the remote one, so that whoever prints it sees where it comes from.
 *
 * @example
 * ```ts
 * const error = new RemoteError('KeyError', "'x'")
 * error.type // 'KeyError'
 * String(error) // "KeyError: 'x'"
 * ```
 */
export class RemoteError extends WorkflowsError {
  static override readonly code: string = 'remote_error'
  /** Bare name of the remote error's type, such as "ValueError". */
  readonly type: string
  /** Its stack, as the other language writes it; '' if unknown. */
  declare readonly remoteStack: string
  /** Where it was thrown, such as "python"; undefined if unknown. */
  readonly language: string | undefined
  /** Whether it was marked as one that is never retried. */
  readonly markedNonRetryable: boolean
  declare readonly cause?: RemoteError

  constructor(type: string, message: string, options: RemoteErrorOptions = {}) {
    const { cause, details, stack = '' } = options
    super(message, cause === undefined ? { details } : { details, cause })
    this.type = type
    this.language = options.language
    this.markedNonRetryable = options.nonRetryable ?? false
    hidden(this, 'remoteStack', stack)
    // Where it was read says nothing about it.
    hidden(this, 'stack', `${told(this)}\n${stack}`.trimEnd())
  }

  override get described(): string {
    return told(this)
  }

  override toString(): string {
    return told(this)
  }
}

/** Sets a member that is not printed with the others. */
export function hidden(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, configurable: true, writable: true })
}

/** Answers the type and the message of an error from elsewhere in one line. */
export function told(error: { readonly type: string; readonly message: string }): string {
  return error.message ? `${error.type}: ${error.message}` : error.type
}

// --- from the wire ------------------------------------------------------------------------

type FaultClass = new (message: string, options: errors.WorkflowsErrorOptions) => WorkflowsError

/** The class of each fault code. */
export const FAULTS: ReadonlyMap<string, FaultClass> = new Map(
  Object.values(errors as Readonly<Record<string, unknown>>)
    .filter(isFaultClass)
    .map((cls) => [cls.code, cls]),
)

function isFaultClass(value: unknown): value is FaultClass & { readonly code: string } {
  return typeof value === 'function' && Object.hasOwn(value, 'code') && codeOf(value) in FAULT_CODES
}

function codeOf(value: object): string {
  return (value as { readonly code: string }).code
}

/**
 * Turns a fault of the library into an error of its class.
 *
 * A code that is newer than this package becomes a plain WorkflowsError with that code.
 *
 * @param fault `{code, message, retryable, details}` of a reply.
 */
export function faultToException(fault: unknown): WorkflowsError {
  const { code, message, retryable, details } = members(fault)
  const kind = text(code, 'internal')
  const cls = FAULTS.get(kind) ?? WorkflowsError
  const options = { details: members(details), retryable: retryable === true, code: kind }
  return new cls(text(message), options)
}

/**
 * Turns an error from the wire into an error with its chain of causes.
 *
 * It keeps type, message, stack, language and details as they were sent. The remote class itself
 * is not rebuilt: compare `type` instead.
 *
 * @param error `{type, message, stack, cause, non_retryable, details, language}`.
 */
export function errorToException(error: unknown): RemoteError {
  if (error instanceof Unreadable) {
    return new RemoteError('Error', `(it could not be read: ${error.path}: ${error.reason})`)
  }
  return remote(error, MAX_CAUSES) ?? new RemoteError('Error', '')
}

function remote(error: unknown, causes: number): RemoteError | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { type, message, stack, language, non_retryable, details, cause } = members(error)
  return new RemoteError(text(type, 'Error'), text(message), {
    stack: text(stack),
    language: typeof language === 'string' ? language : undefined,
    nonRetryable: non_retryable === true,
    details: members(details),
    cause: causes > 0 ? remote(cause, causes - 1) : undefined,
  })
}

function members(value: unknown): Readonly<Record<string, unknown>> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject ? (value as Readonly<Record<string, unknown>>) : {}
}

function text(value: unknown, otherwise = ''): string {
  return typeof value === 'string' && value !== '' ? value : otherwise
}

// --- to the wire --------------------------------------------------------------------------

/**
 * Turns whatever was thrown into an error for the wire.
 *
 * It never fails and never answers more than 64 KiB of JSON: long texts are cut in the middle,
 * and causes end at the eighth. A RemoteError keeps what it was sent with, so that an error
 * stays the same through any number of hops.
 *
 * @param error What was thrown: an Error, or anything else.
 * @param options.language What to say about where it was thrown.
 *
 * @example
 * ```ts
 * exceptionToError(new RangeError('no')) // { type: 'RangeError', message: 'no', stack: ... }
 * ```
 */
export function exceptionToError(error: unknown, { language = LANGUAGE } = {}): WireError {
  for (const limit of [16 * 1024, 4 * 1024, 1024]) {
    const wire = chain(error, language, limit)
    if (Buffer.byteLength(JSON.stringify(wire)) <= MAX_ERROR_BYTES) return wire
  }
  const { details: _, ...rest } = one(error, language, 1024)
  return rest
}

function chain(error: unknown, language: string, limit: number): WireError {
  const first = one(error, language, limit)
  const seen = new Set([error])
  let outer = first
  let cause = causeOf(error)
  while (cause !== undefined && !seen.has(cause) && seen.size <= MAX_CAUSES) {
    seen.add(cause)
    outer.cause = one(cause, language, limit)
    outer = outer.cause
    cause = causeOf(cause)
  }
  return first
}

function one(error: unknown, language: string, limit: number): WireError {
  const isRemote = error instanceof RemoteError
  const type = isRemote ? error.type : typeOf(error)
  const message = isRemote ? error.message : messageOf(error)
  const stack = isRemote ? error.remoteStack : stackOf(error, message)
  const wire: WireError = { type: cut(type, MAX_TYPE), message: cut(message, limit) }
  if (stack !== '') wire.stack = cut(stack, limit)
  if (isRemote ? error.markedNonRetryable : isNonRetryable(error)) wire.non_retryable = true
  const details = detailsOf(error)
  if (details !== undefined) wire.details = details
  const origin = isRemote ? error.language : language
  if (origin) wire.language = origin
  return wire
}

/** The names that say nothing: what a class has that sets none of its own. */
const BASE_NAMES = new Set([
  'Error',
  'AggregateError',
  'EvalError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'TypeError',
  'URIError',
])

/** Answers the bare name of an error's class, or the name that it gives itself. */
function typeOf(error: unknown): string {
  if (!isErrorLike(error)) return 'Error'
  const name = attribute(error, 'name')
  if (typeof name === 'string' && name !== '' && !BASE_NAMES.has(name)) return name
  const made = attribute(attribute(error, 'constructor'), 'name')
  if (typeof made === 'string' && made !== '' && made !== 'Object') return made
  return text(name, 'Error')
}

function isErrorLike(error: unknown): error is object {
  return error instanceof Error || typeof attribute(error, 'message') === 'string'
}

function messageOf(error: unknown): string {
  try {
    if (error instanceof WorkflowsError) return error.described
    if (isErrorLike(error)) return String((error as { readonly message: unknown }).message)
    if (typeof error === 'string') return error
    return `${shown(error)} was thrown, which is no Error`
  } catch (problem) {
    return `(its message could not be made: ${typeOf(problem)})`
  }
}

function shown(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  return JSON.stringify(value) ?? Object.prototype.toString.call(value)
}

/** Answers the frames alone, without those of the worker that called the body. */
function stackOf(error: unknown, message: string): string {
  const stack = attribute(error, 'stack')
  if (typeof stack !== 'string') return ''
  const told = stack.indexOf(message)
  const from = stack.indexOf('\n    at ', told < 0 ? 0 : told + message.length)
  if (from < 0) return ''
  const frames = stack
    .slice(from + 1)
    .split('\n')
    .slice(0, MAX_FRAMES)
  while (frames.length > 0 && isMachinery(frames.at(-1) as string)) frames.pop()
  return frames.join('\n')
}

function isMachinery(frame: string): boolean {
  return frame.trim() === '' || /[( ]node:/.test(frame) || isOurs(frame)
}

function causeOf(error: unknown): unknown {
  const cause = attribute(error, 'cause')
  if (cause !== undefined && cause !== null) return cause
  const several = attribute(error, 'errors')
  return Array.isArray(several) ? (several[0] ?? undefined) : undefined
}

function isNonRetryable(error: unknown): boolean {
  if (attribute(error, 'nonRetryable') === true) return true
  return attribute(attribute(error, 'constructor'), 'nonRetryable') === true
}

function detailsOf(error: unknown): { [name: string]: Json } | undefined {
  const details = attribute(error, 'details')
  if (typeof details !== 'object' || details === null || Array.isArray(details)) return undefined
  try {
    const told = plain(details, 'details') as { [name: string]: Json }
    const size = JSON.stringify(told).length
    if (size <= 2) return undefined
    return size <= MAX_DETAILS ? told : { left_out: 'too large' }
  } catch {
    return { left_out: 'not JSON' }
  }
}

/** Answers a member of an object that may be of anybody's making. */
function attribute(value: unknown, name: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[name]
  } catch {
    return undefined
  }
}

function cut(text: string, limit: number): string {
  if (text.length <= limit) return text
  const half = Math.floor(limit / 2)
  const left = text.length - 2 * half
  return `${text.slice(0, half)}\n... ${left} characters left out ...\n${text.slice(-half)}`
}
