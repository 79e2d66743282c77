/** How things ended elsewhere: executions seen from outside, activities, steps and children. */

import { markTimeout, WorkflowsError } from './_errors'
import { errorToException, type RemoteError, told } from './_wire_errors'

/** An error as it is stored, of whatever language. */
export type StoredError = unknown

/** How something ended elsewhere: a type, a message, a stack and a cause. */
export abstract class Outcome extends WorkflowsError {
  /** Bare name of the remote error's type, such as "CardDeclined". */
  readonly type: string
  /** The remote error's stack, as its language writes it; '' if unknown. */
  readonly remoteStack: string
  /** The error as it was sent, with the chain of its causes. */
  declare readonly cause?: RemoteError

  constructor(type: string, message: string, cause?: RemoteError) {
    super(message, cause === undefined ? {} : { cause, details: cause.details })
    this.type = type
    this.remoteStack = cause?.remoteStack ?? ''
  }

  override get described(): string {
    return told(this)
  }

  override toString(): string {
    return `${this.name}: ${told(this)}`
  }
}

/**
 * The execution whose result was asked for has failed.
 *
 * `type`, `message` and `remoteStack` are those of the error that ended it; `cause` is the
 * RemoteError with the chain of its causes.
 */
export class ExecutionFailed extends Outcome {
  static override readonly code: string = 'execution_failed'
  /** The execution's. */
  readonly id: string

  constructor(type: string, message: string, id = '', cause?: RemoteError) {
    super(type, message, cause)
    this.id = id
  }

  /** Makes one from an error as it is stored. */
  static of(error: StoredError, id = ''): ExecutionFailed {
    const cause = errorToException(error)
    return new ExecutionFailed(cause.type, cause.message, id, cause)
  }
}

/** The execution whose result was asked for was cancelled or terminated. */
export class ExecutionCancelled extends WorkflowsError {
  static override readonly code: string = 'execution_cancelled'
  /** The execution's. */
  readonly id: string

  constructor(message = '', id = '') {
    super(message)
    this.id = id
  }
}

/** The result was not there in time. The execution goes on unharmed; ask again. */
export class ResultTimeout extends WorkflowsError {
  static override readonly code: string = 'result_timeout'
  static override readonly retryable: boolean = true
  /** The execution's. */
  readonly id: string

  constructor(message = '', id = '') {
    super(message)
    this.id = id
  }
}

abstract class Attempted extends Outcome {
  /** How often its body began. */
  readonly attempts: number

  constructor(type: string, message: string, attempts = 1, cause?: RemoteError) {
    super(type, message, cause)
    this.attempts = attempts
  }

  /** Makes one from an error as it is stored. */
  static of<T extends Attempted>(
    this: new (
      type: string,
      message: string,
      attempts?: number,
      cause?: RemoteError,
    ) => T,
    error: StoredError,
    attempts = 1,
  ): T {
    const cause = errorToException(error)
    return new this(cause.type, cause.message, attempts, cause)
  }
}

/**
 * An activity has failed for good, all its retries included.
 *
 * `type`, `message` and `remoteStack` are those of the last error; `cause` is the RemoteError
 * with the chain of its causes.
 *
 * @example
 * ```ts
 * try {
 *   await charge.run(card, 100)
 * } catch (error) {
 *   if (error instanceof ActivityError && error.type === 'CardDeclined') return 'declined'
 *   throw error
 * }
 * ```
 */
export class ActivityError extends Attempted {
  static override readonly code: string = 'activity_failed'
}

/** An activity was cancelled by somebody other than this workflow. */
export class ActivityCancelled extends ActivityError {
  static override readonly code: string = 'activity_cancelled'
}

/** An activity has run out of the time that it was given. */
export class ActivityTimeout extends ActivityError {
  static override readonly code: string = 'activity_timeout'
}

/** A step has failed for good, all its retries included. */
export class StepError extends Attempted {
  static override readonly code: string = 'step_failed'
}

/** A child workflow did not complete; the subclass says how it ended. */
export class ChildError extends Outcome {
  static override readonly code: string = 'child_error'
  /** The child's. */
  readonly id: string

  constructor(type: string, message: string, id = '', cause?: RemoteError) {
    super(type, message, cause)
    this.id = id
  }

  /** Makes one from an error as it is stored. */
  static of<T extends ChildError>(
    this: new (
      type: string,
      message: string,
      id?: string,
      cause?: RemoteError,
    ) => T,
    error: StoredError,
    id = '',
  ): T {
    const cause = errorToException(error)
    return new this(cause.type, cause.message, id, cause)
  }
}

/** A child workflow has failed. */
export class ChildFailed extends ChildError {
  static override readonly code: string = 'child_failed'
}

/** A child workflow was cancelled by somebody other than its parent. */
export class ChildCancelled extends ChildError {
  static override readonly code: string = 'child_cancelled'
}

/** A child workflow has run out of the time that it was given. */
export class ChildTimeout extends ChildError {
  static override readonly code: string = 'child_timeout'
}

for (const cls of [ResultTimeout, ActivityTimeout, ChildTimeout]) markTimeout(cls)
