/** Options of durable functions: what there is, what is allowed, and what goes over the wire. */

import type { ClosePolicy, NewExecution, RetryPolicy, StartSignal } from './_operations'
import { plain } from './_payload'
import { type Duration, milliseconds, Settings } from './_settings'

/** What a durable function is. */
export type Kind = 'job' | 'activity' | 'step' | 'workflow'

/** A class of errors. */
export type ErrorClass = abstract new (...args: any[]) => unknown

export const MAX_NAME_BYTES = 255
const MAX_RETRIES = 1_000_000

/**
 * What can be said about a durable function.
 *
 * Durations are seconds, or text such as "30s", "5m".
 */
export interface Options {
  /** Whose workers run it. Default the workflow's own inside a workflow, else "default". */
  readonly queue?: string | undefined
  /** Of the code, for whoever reads an execution. */
  readonly version?: string | undefined
  /** 0 to 10, higher first. Default 5. */
  readonly priority?: number | undefined
  /** Bounds one attempt; of a workflow, the whole of it. null: not at all. */
  readonly timeout?: Duration | null | undefined
  /** Bounds the execution with all its attempts. */
  readonly totalTimeout?: Duration | null | undefined
  /** Bounds the time until the first start. */
  readonly scheduleTimeout?: Duration | null | undefined
  /** The earliest start from now, by the database's clock. */
  readonly delay?: Duration | undefined
  /** The earliest start. Not together with delay. */
  readonly runAt?: Date | undefined
  /**
   * A second call with the same name and key answers the first one's execution. Not inside a
   * workflow.
   */
  readonly idempotencyKey?: string | undefined
  /**
   * Sent to the workflow with its start, as [name, payload] or [name, payload, key]. If the
   * idempotency key leads to one that was there, it is sent to that one.
   */
  readonly signal?: StartingSignal | undefined
  /** How many failures are followed by another attempt. Default 3; not for workflows. */
  readonly retries?: number | undefined
  /** The delay after the first failure. Default 1 s. */
  readonly initial?: Duration | undefined
  /** Multiplies the delay after each further failure. Default 2. */
  readonly factor?: number | undefined
  /** Caps the delay. Default 60 s. */
  readonly max?: Duration | undefined
  /** Spreads the delay by this fraction of it, 0 to 1. Default 0.1. */
  readonly jitter?: number | undefined
  /** Classes of errors, or their names, that are never retried. */
  readonly nonRetryable?: Iterable<ErrorClass | string> | undefined
  /**
   * What becomes of it when the workflow that started it ends first: "cancel" (default) or
   * "detach".
   */
  readonly closePolicy?: ClosePolicy | undefined
}

/** A signal that goes with the start of a workflow: its name, its payload, and perhaps a key. */
export type StartingSignal =
  | readonly [name: string, payload: unknown]
  | readonly [name: string, payload: unknown, key: string]

type Attempts = 'retries' | 'initial' | 'factor' | 'max' | 'jitter' | 'nonRetryable'

/** What can be said about a job or an activity. */
export type BodyOptions = Omit<Options, 'signal'>
/** What can be said about a step, which runs inside its workflow. */
export type StepOptions = Pick<Options, Attempts | 'timeout'>
/** What can be said about a workflow, which goes on from its history instead of beginning again. */
export type WorkflowOptions = Omit<Options, Attempts | 'totalTimeout'>

/** Options where a function is defined. */
export type Named<O> = O & {
  /**
   * How executions find this code; 1 to 255 bytes. Default the function's own name. Keep it when
   * you rename the function: what was queued before looks for it.
   */
  readonly name?: string | undefined
}

/**
 * Answers the options if each is one and is allowed; those that are undefined are left out.
 *
 * @throws {TypeError} An unknown option, one without a meaning here, or a wrong type.
 * @throws {RangeError} A value out of its range.
 */
export function checked(kind: Kind, options: object, { definition = false } = {}): Named<Options> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  for (const [option, value] of given) {
    const check = CHECKS.get(option)
    if (check === undefined) {
      const known = [...CHECKS.keys()].sort().join(', ')
      throw new TypeError(`'${option}' is no option of a ${kind}; there are ${known}`)
    }
    mustHaveMeaning(kind, option, value, definition)
    check(option, value)
  }
  const found: Named<Options> = Object.fromEntries(given)
  if (found.delay && found.runAt) {
    throw new RangeError('delay and runAt both say when to start; give one of them')
  }
  return found
}

function mustHaveMeaning(kind: Kind, option: string, value: unknown, definition: boolean): void {
  if (option === 'name' && !definition) {
    throw new TypeError('name belongs into the definition: executions find their code by it')
  }
  if (kind === 'workflow' && NOT_OF_WORKFLOWS.has(option) && value !== 0) {
    throw new TypeError(
      `${option} has no meaning for a workflow, which goes on from its history instead of` +
        ' beginning again: give it to the activities, and timeout to the workflow',
    )
  }
  if (option === 'signal' && kind !== 'workflow') {
    throw new TypeError(`signal has no meaning for a ${kind}: only workflows take signals`)
  }
  if (kind === 'step' && !OF_STEPS.has(option)) {
    throw new TypeError(
      `${option} has no meaning for a step, which runs inside its workflow; make it an activity`,
    )
  }
}

/**
 * Answers the name that executions find a function by.
 *
 * @throws {TypeError} It has none.
 * @throws {RangeError} It is over 255 bytes.
 */
export function nameOf(
  kind: Kind,
  plain: { readonly name: string },
  options: Named<Options>,
): string {
  const name = options.name ?? plain.name
  if (name === '') {
    throw new TypeError(
      `the function of this ${kind} has no name, and executions find their code by it: give it` +
        ` one, as in ${kind}('charge', async () => ...)`,
    )
  }
  shortText('name', name)
  return name
}

/** Answers the fields of a new execution that options and `WORKFLOWS_DEFAULT_*` decide. */
export function executionFields(kind: Kind, name: string, options: Options): NewExecution {
  const settings = fromEnvironment()
  const fields: NewExecution = { kind: kind as NewExecution['kind'], name }
  if (options.queue !== undefined) fields.queue = options.queue
  if (options.priority !== undefined) fields.priority = options.priority
  if (options.idempotencyKey !== undefined) fields.idempotency_key = options.idempotencyKey
  if (options.version !== undefined) fields.version = options.version
  if (options.delay !== undefined) fields.delay_ms = milliseconds(options.delay, { name: 'delay' })
  if (options.runAt !== undefined) fields.run_at = options.runAt.toISOString()
  const inherited = kind === 'workflow' ? settings.defaultWorkflowTimeout : settings.defaultTimeout
  setTimeouts(fields, options, kind, inherited)
  if (options.signal !== undefined) fields.signals = [startSignal(options.signal)]
  const retry = retryPolicy(kind, options)
  if (Object.keys(retry).length > 0) fields.retry = retry
  return fields
}

function startSignal([name, payload, key]: StartingSignal): StartSignal {
  const signal: StartSignal = { name, payload: plain(payload ?? null, 'signal') }
  return key === undefined ? signal : { ...signal, idempotency_key: key }
}

function setTimeouts(
  fields: NewExecution,
  options: Options,
  kind: Kind,
  inherited: Duration | undefined,
): void {
  const own = options.timeout === undefined ? inherited : options.timeout
  const set = (field: TimeoutField, value: Duration | null | undefined) => {
    if (value !== undefined && value !== null)
      fields[field] = milliseconds(value, { name: field.slice(0, -3) })
  }
  set(kind === 'workflow' ? 'timeout_ms' : 'attempt_timeout_ms', own)
  set('timeout_ms', options.totalTimeout)
  set('schedule_timeout_ms', options.scheduleTimeout)
}

type TimeoutField = 'timeout_ms' | 'attempt_timeout_ms' | 'schedule_timeout_ms'

/** Answers the retry policy as it goes over the wire; what is at its default is left out. */
export function retryPolicy(kind: Kind, options: Options): RetryPolicy {
  const policy: RetryPolicy = {}
  const inherited = kind === 'workflow' ? undefined : fromEnvironment().defaultRetries
  const retries = options.retries ?? inherited
  if (retries !== undefined) policy.retries = retries
  if (options.initial !== undefined)
    policy.initial_ms = milliseconds(options.initial, { name: 'initial' })
  if (options.max !== undefined) policy.max_ms = milliseconds(options.max, { name: 'max' })
  if (options.factor !== undefined) policy.factor = options.factor
  if (options.jitter !== undefined) policy.jitter = options.jitter
  if (options.nonRetryable !== undefined) {
    policy.non_retryable = Array.from(options.nonRetryable, (each) =>
      typeof each === 'string' ? each : each.name,
    )
  }
  return policy
}

let settings: Settings | undefined

function fromEnvironment(): Settings {
  settings ??= Settings.fromEnvironment()
  return settings
}

// --- checks -----------------------------------------------------------------------------

type Check = (option: string, value: any) => void

function shortText(option: string, value: unknown): void {
  if (typeof value !== 'string') throw mustBe(option, 'text', value)
  const size = Buffer.byteLength(value)
  if (size < 1 || size > MAX_NAME_BYTES || value.includes('\0')) {
    throw new RangeError(
      `${option} must have 1 to ${MAX_NAME_BYTES} bytes and no NUL, not ${size} bytes:` +
        ` ${JSON.stringify(value.slice(0, 40))}`,
    )
  }
}

function whole(low: number, high: number): Check {
  return (option, value) => {
    if (!Number.isInteger(value)) throw mustBe(option, 'a whole number', value)
    inRange(option, value, low, high)
  }
}

function number(low: number, high: number): Check {
  return (option, value) => {
    if (typeof value !== 'number') throw mustBe(option, 'a number', value)
    inRange(option, value, low, high)
  }
}

function inRange(option: string, value: number, low: number, high: number): void {
  if (!(value >= low && value <= high)) {
    throw new RangeError(`${option} must be ${low} to ${high}, not ${value}`)
  }
}

function duration(option: string, value: Duration): void {
  milliseconds(value, { name: option })
}

function timeout(option: string, value: Duration | null): void {
  if (value !== null && milliseconds(value, { name: option }) === 0) {
    throw new RangeError(`${option} must be more than 0; null means none`)
  }
}

function instant(option: string, value: unknown): void {
  if (!(value instanceof Date)) throw mustBe(option, 'a Date', value)
  if (Number.isNaN(value.getTime())) throw new RangeError(`${option} must be a valid Date`)
}

function errorTypes(option: string, value: any): void {
  if (typeof value === 'string' || typeof value?.[Symbol.iterator] !== 'function') {
    throw mustBe(option, 'a list of classes of errors or their names', value)
  }
  for (const each of value) {
    if (!(typeof each === 'string' && each !== '') && !isErrorClass(each)) {
      throw new TypeError(
        `${option} must have classes of errors or their names, not ${shown(each)}`,
      )
    }
  }
}

/** Also a class of another realm, such as that of a test runner's sandbox. */
function isErrorClass(value: unknown): boolean {
  return typeof value === 'function' && 'message' in Object(value.prototype) && value.name !== ''
}

function namedPayload(option: string, value: unknown): void {
  if (!Array.isArray(value) || (value.length !== 2 && value.length !== 3)) {
    throw mustBe(option, '[name, payload] or [name, payload, key]', value)
  }
  const [name, , ...key] = value
  for (const each of [name, ...key]) shortText(option, each)
}

function closePolicy(option: string, value: unknown): void {
  if (value !== 'cancel' && value !== 'detach') {
    throw new RangeError(`${option} must be "cancel" or "detach", not ${shown(value)}`)
  }
}

function mustBe(option: string, what: string, value: unknown): TypeError {
  return new TypeError(`${option} must be ${what}, not ${shown(value)}`)
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return `the function ${value.name}`
  return Object.prototype.toString.call(value) === '[object Object]' ? 'an object' : String(value)
}

const CHECKS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['name', shortText],
  ['queue', shortText],
  ['version', shortText],
  ['priority', whole(0, 10)],
  ['timeout', timeout],
  ['totalTimeout', timeout],
  ['scheduleTimeout', timeout],
  ['delay', duration],
  ['runAt', instant],
  ['idempotencyKey', shortText],
  ['signal', namedPayload],
  ['retries', whole(0, MAX_RETRIES)],
  ['initial', duration],
  ['factor', number(1, 1000)],
  ['max', duration],
  ['jitter', number(0, 1)],
  ['nonRetryable', errorTypes],
  ['closePolicy', closePolicy],
])

const OF_ATTEMPTS = ['retries', 'initial', 'factor', 'max', 'jitter', 'nonRetryable']
const NOT_OF_WORKFLOWS = new Set([...OF_ATTEMPTS, 'totalTimeout'])
const OF_STEPS = new Set([...OF_ATTEMPTS, 'name', 'timeout'])
