/**
 * Every way in which libworkflows can fail.
 *
 * ```text
 * Error
 * ├── WorkflowsError                    code, details, retryable
 * │   │
 * │   │   faults of the library, one class per code
 * │   ├── InvalidRequest                invalid_request
 * │   ├── InvalidPayload                invalid_payload
 * │   │   └── PayloadError              path; found on this side
 * │   ├── PayloadTooLarge               payload_too_large
 * │   ├── UnknownOperation              unknown_operation
 * │   ├── InvalidConfig                 invalid_config
 * │   │   ├── InvalidDuration
 * │   │   ├── LibraryNotFound           no libworkflows.so could be found
 * │   │   └── LibraryMismatch           one was found that speaks differently
 * │   ├── InvalidHandle                 invalid_handle
 * │   ├── Closed                        closed
 * │   ├── Busy                          busy, retryable
 * │   ├── Forked                        forked
 * │   ├── Cancelled                     cancelled (the call, not an execution)
 * │   ├── Timeout                       timeout, retryable; also a TimeoutError
 * │   ├── DatabaseUnavailable           database_unavailable, retryable
 * │   ├── PermissionDenied              permission_denied
 * │   ├── SchemaMissing                 schema_missing
 * │   ├── SchemaOutdated                schema_outdated
 * │   ├── SchemaTooNew                  schema_too_new
 * │   ├── ExecutionNotFound             execution_not_found
 * │   ├── ExecutionFinished             execution_finished
 * │   ├── InvalidState                  invalid_state
 * │   ├── LeaseLost                     lease_lost
 * │   ├── WorkerNotFound                worker_not_found
 * │   ├── WrongLanguage                 wrong_language
 * │   ├── Internal                      internal
 * │   ├── HistoryTooLong                history_too_long
 * │   │
 * │   │   the end of an execution, seen from outside
 * │   ├── ExecutionFailed               id, type, message, remoteStack; cause is the RemoteError
 * │   ├── ExecutionCancelled            id
 * │   ├── ResultTimeout                 id; also a TimeoutError
 * │   │
 * │   │   what workflow code sees
 * │   ├── RemoteError                   type, message, remoteStack, language: as it was sent
 * │   ├── ActivityError                 type, message, attempts, remoteStack
 * │   │   ├── ActivityCancelled
 * │   │   └── ActivityTimeout           also a TimeoutError
 * │   ├── StepError                     type, message, attempts, remoteStack
 * │   ├── ChildError                    type, message, id, remoteStack
 * │   │   ├── ChildFailed
 * │   │   ├── ChildCancelled
 * │   │   └── ChildTimeout              also a TimeoutError
 * │   ├── SignalTimeout                 signalName; also a TimeoutError
 * │   ├── NonDeterminismError           position, recorded, attempted
 * │   ├── VersionError                  change, recorded, minimum, maximum
 * │   └── NotDurableError
 * │
 * ├── TimeoutError                      what `timeout()` throws
 * ├── CancelledError                    what a cancelled wait throws
 * ├── NonRetryableError                 yours to throw: no further attempt
 * └── Evicted                           a suspended workflow is being discarded
 * ```
 */

/** What may be said about a WorkflowsError beside its message. */
export interface WorkflowsErrorOptions {
  /** Facts about it: which field, which id, which limit. */
  readonly details?: Readonly<Record<string, unknown>> | undefined
  /** Whether the same call, unchanged, may succeed later. Default what its class says. */
  readonly retryable?: boolean | undefined
  /** The kind of failure. Default what its class says. */
  readonly code?: string | undefined
  /** What it came from. */
  readonly cause?: unknown
}

/**
 * The root of every error that libworkflows throws.
 *
 * @example
 * ```ts
 * const error = new DatabaseUnavailable('PostgreSQL does not answer')
 * error.code // 'database_unavailable'
 * error.retryable // true
 * ```
 */
export class WorkflowsError extends Error {
  /** The code of the class; an instance may have one that is newer than this package. */
  static readonly code: string = 'error'
  /** Whether errors of the class may pass by themselves. */
  static readonly retryable: boolean = false

  /** The kind of failure, for programs. */
  readonly code: string
  /** Facts about it: which field, which id, which limit. */
  readonly details: Readonly<Record<string, unknown>>
  /** Whether the same call, unchanged, may succeed later. */
  readonly retryable: boolean

  constructor(message = '', options: WorkflowsErrorOptions = {}) {
    const told = prepared(new.target, message)
    super(told, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = options.code ?? new.target.code
    this.retryable = options.retryable ?? new.target.retryable
    this.details = { ...options.details }
  }

  /** The message as it goes over the wire. @internal */
  get described(): string {
    return this.message
  }
}

/** Gives a class its name before its first error is made: the stack begins with it. */
function prepared(cls: { readonly name: string; readonly prototype: object }, message: string) {
  if (!Object.hasOwn(cls.prototype, 'name')) {
    const name = { value: cls.name, configurable: true, writable: true }
    Object.defineProperty(cls.prototype, 'name', name)
  }
  return message
}

function isTimeoutOf(asked: typeof TimeoutError, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Object.prototype.isPrototypeOf.call(asked.prototype, value)) return true
  return asked === TimeoutError && isTimeout in value
}

/** Marks the classes that are timeouts beside what they are by descent. */
const isTimeout: unique symbol = Symbol.for('libworkflows.timeout') as never

/**
 * Something took longer than it was allowed to; what `timeout()` throws.
 *
 * `instanceof TimeoutError` holds for every error of this package that is a timeout:
 * ActivityTimeout, ChildTimeout, SignalTimeout, ResultTimeout and Timeout too.
 *
 * @example
 * ```ts
 * try {
 *   await waitForSignal('approved', { timeout: '1h' })
 * } catch (error) {
 *   if (!(error instanceof TimeoutError)) throw error
 * }
 * ```
 */
export class TimeoutError extends Error {
  constructor(message = '', options?: ErrorOptions) {
    super(prepared(new.target, message), options)
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: a class that somebody derives asks for its own
    return isTimeoutOf(this, value)
  }
}

/**
 * A wait was cancelled: the workflow was asked to stop, or a scope around the wait was.
 *
 * It is thrown once. Waits that begin after it was caught run, so that a `finally` block can
 * put things right; a workflow that swallows it still ends as cancelled.
 */
export class CancelledError extends Error {
  constructor(message = 'the wait was cancelled', options?: ErrorOptions) {
    super(prepared(new.target, message), options)
  }
}

/** The request is not what the operation takes. */
export class InvalidRequest extends WorkflowsError {
  static override readonly code: string = 'invalid_request'
}

/** A payload is not JSON that can be stored. */
export class InvalidPayload extends WorkflowsError {
  static override readonly code: string = 'invalid_payload'
}

/**
 * A value cannot cross the wire unchanged; `path` says which one.
 *
 * @example
 * ```ts
 * new PayloadError('args[0].price', 'NaN is not JSON').message // 'args[0].price: NaN is not JSON'
 * ```
 */
export class PayloadError extends InvalidPayload {
  /** The same value fails again, so that another attempt would be wasted. */
  readonly nonRetryable = true
  /** Which value, such as `result.items[3]`. */
  readonly path: string
  /** What is wrong with it. */
  readonly reason: string

  constructor(path: string, reason: string, options?: { readonly cause?: unknown }) {
    super(`${path}: ${reason}`, { details: { path }, ...options })
    this.path = path
    this.reason = reason
  }
}

/** A payload is over the size or depth limit. */
export class PayloadTooLarge extends WorkflowsError {
  static override readonly code: string = 'payload_too_large'
}

/** No operation has this name or number. */
export class UnknownOperation extends WorkflowsError {
  static override readonly code: string = 'unknown_operation'
}

/** The configuration cannot work. */
export class InvalidConfig extends WorkflowsError {
  static override readonly code: string = 'invalid_config'
}

/** A duration is neither a number of seconds nor text such as "30s". */
export class InvalidDuration extends InvalidConfig {}

/** The shared library libworkflows.so could not be found or loaded. */
export class LibraryNotFound extends InvalidConfig {}

/** The shared library is of another version than this package. */
export class LibraryMismatch extends InvalidConfig {}

/** No engine or channel has this handle. */
export class InvalidHandle extends WorkflowsError {
  static override readonly code: string = 'invalid_handle'
}

/** The engine or channel was closed, perhaps while the call was on its way. */
export class Closed extends WorkflowsError {
  static override readonly code: string = 'closed'
}

/** Too much is waiting; try again later. */
export class Busy extends WorkflowsError {
  static override readonly code: string = 'busy'
  static override readonly retryable: boolean = true
}

/** The process forked after the library was loaded, and cannot use it. */
export class Forked extends WorkflowsError {
  static override readonly code: string = 'forked'
}

/** The caller cancelled the call. An execution is not meant: see ExecutionCancelled. */
export class Cancelled extends WorkflowsError {
  static override readonly code: string = 'cancelled'
}

/** The call took longer than it was allowed to. */
export class Timeout extends WorkflowsError {
  static override readonly code: string = 'timeout'
  static override readonly retryable: boolean = true
}

/** PostgreSQL cannot be reached or refused us. */
export class DatabaseUnavailable extends WorkflowsError {
  static override readonly code: string = 'database_unavailable'
  static override readonly retryable: boolean = true
}

/** The database role lacks a privilege. */
export class PermissionDenied extends WorkflowsError {
  static override readonly code: string = 'permission_denied'
}

/** The schema was never migrated: run `workflows migrate`. */
export class SchemaMissing extends WorkflowsError {
  static override readonly code: string = 'schema_missing'
}

/** The schema is older than the library: run `workflows migrate`. */
export class SchemaOutdated extends WorkflowsError {
  static override readonly code: string = 'schema_outdated'
}

/** The schema is newer than the library: upgrade this package. */
export class SchemaTooNew extends WorkflowsError {
  static override readonly code: string = 'schema_too_new'
}

/** No execution has this id. */
export class ExecutionNotFound extends WorkflowsError {
  static override readonly code: string = 'execution_not_found'
}

/** The execution is in a final state. */
export class ExecutionFinished extends WorkflowsError {
  static override readonly code: string = 'execution_finished'
}

/** The execution is not in a state that allows this. */
export class InvalidState extends WorkflowsError {
  static override readonly code: string = 'invalid_state'
}

/** The execution is no longer held under this lease. */
export class LeaseLost extends WorkflowsError {
  static override readonly code: string = 'lease_lost'
}

/** No worker of this engine has this id. */
export class WorkerNotFound extends WorkflowsError {
  static override readonly code: string = 'worker_not_found'
}

/** A workflow was begun by code of another language. */
export class WrongLanguage extends WorkflowsError {
  static override readonly code: string = 'wrong_language'
}

/** A bug in the library. */
export class Internal extends WorkflowsError {
  static override readonly code: string = 'internal'
}

/** A workflow's history is full: let it call `continueAsNew` in time. */
export class HistoryTooLong extends WorkflowsError {
  static override readonly code: string = 'history_too_long'
}

/** No signal of this name came in time. */
export class SignalTimeout extends WorkflowsError {
  static override readonly code: string = 'signal_timeout'
  /** The signal's name. */
  readonly signalName: string

  constructor(message = '', signalName = '') {
    super(message)
    this.signalName = signalName
  }
}

/**
 * Workflow code did something else than its history recorded.
 *
 * The workflow is parked: put the old code back, or give it a version with `getVersion`, and
 * retry it.
 */
export class NonDeterminismError extends WorkflowsError {
  static override readonly code: string = 'non_determinism'
  readonly nonRetryable = true
  /** The position in the history; 0 if there is none. */
  readonly position: number
  /** What history recorded. */
  readonly recorded: string
  /** What the code attempted. */
  readonly attempted: string

  constructor(
    message = '',
    { position = 0, recorded = '', attempted = '' }: NonDeterminismDetails = {},
  ) {
    super(message, { details: { position, recorded, attempted } })
    this.position = position
    this.recorded = recorded
    this.attempted = attempted
  }
}

/** Where code and history part. */
export interface NonDeterminismDetails {
  readonly position?: number
  readonly recorded?: string
  readonly attempted?: string
}

/** A workflow recorded a version that this code no longer supports. */
export class VersionError extends WorkflowsError {
  static override readonly code: string = 'unsupported_version'
  readonly nonRetryable = true
  /** The id of the change. */
  readonly change: string
  /** The version that was recorded. */
  readonly recorded: number
  /** The oldest version that the code supports. */
  readonly minimum: number
  /** The newest version that the code supports. */
  readonly maximum: number

  constructor(
    message = '',
    { change = '', recorded = 0, minimum = 0, maximum = 0 }: VersionDetails = {},
  ) {
    super(message, { details: { change, recorded, minimum, maximum } })
    this.change = change
    this.recorded = recorded
    this.minimum = minimum
    this.maximum = maximum
  }
}

/** Which version was recorded, and which are supported. */
export interface VersionDetails {
  readonly change?: string
  readonly recorded?: number
  readonly minimum?: number
  readonly maximum?: number
}

/** Workflow code awaited, or asked for, something that would not survive a restart. */
export class NotDurableError extends WorkflowsError {
  static override readonly code: string = 'not_durable'
  readonly nonRetryable = true
}

/**
 * Throw this, or a subclass, in a function to fail without another attempt.
 *
 * @example
 * ```ts
 * class CardDeclined extends NonRetryableError {}
 *
 * throw new CardDeclined('no funds')
 * ```
 */
export class NonRetryableError extends Error {
  /** Any error with this member set to true is never retried. */
  readonly nonRetryable = true

  constructor(message = '', options?: ErrorOptions) {
    super(prepared(new.target, message), options)
  }
}

/**
 * A suspended workflow is being discarded from memory.
 *
 * Calls of the SDK throw it in code that is left over from a workflow which has ended, or which
 * goes on elsewhere from its history. Do not catch it.
 */
export class Evicted extends Error {
  constructor(message = 'the workflow was discarded from memory') {
    super(prepared(new.target, message))
  }
}

/** Makes a class count as a TimeoutError. */
export function markTimeout(cls: { readonly prototype: WorkflowsError }): void {
  Object.defineProperty(cls.prototype, isTimeout, { value: true })
}

markTimeout(Timeout)
markTimeout(SignalTimeout)
