/** Errors on the wire, both ways: faults of the library, and what functions threw. */

import { WorkflowsError } from './_errors'

export const MAX_ERROR_BYTES = 64 * 1024
export const MAX_CAUSES = 8

/** An error as it goes over the wire. */
export interface WireError {
  type: string
  message: string
  stack?: string
  cause?: WireError
  non_retryable?: boolean
  details?: Record<string, unknown>
  language?: string
  /** The command whose failure went uncaught, if one did; workflows only. */
  sequence?: number
}

/** What may be said about a RemoteError. */
export interface RemoteErrorOptions {
  readonly stack?: string
  readonly language?: string | undefined
  readonly nonRetryable?: boolean
  readonly details?: Readonly<Record<string, unknown>> | undefined
  readonly cause?: RemoteError
}

/** An error as it was sent: thrown by a function elsewhere, perhaps in another language. */
export class RemoteError extends WorkflowsError {
  static override readonly code: string = 'remote_error'
  /** Bare name of the remote error's type, such as "ValueError". */
  readonly type: string
  /** Its stack, as the other language writes it; '' if unknown. */
  readonly remoteStack: string
  /** Where it was thrown, such as "python"; undefined if unknown. */
  readonly language: string | undefined
  /** Whether it was marked as one that is never retried. */
  readonly markedNonRetryable: boolean
  declare readonly cause?: RemoteError

  constructor(type: string, message: string, options: RemoteErrorOptions = {}) {
    super(message, options)
    this.type = type
    this.remoteStack = options.stack ?? ''
    this.language = options.language
    this.markedNonRetryable = options.nonRetryable ?? false
  }
}

/** Turns a fault of the library into an error of its class. */
export function faultToException(error: {
  readonly code?: unknown
  readonly message?: unknown
  readonly retryable?: unknown
  readonly details?: unknown
}): WorkflowsError {
  return new WorkflowsError(String(error.message))
}

/** Turns an error from the wire into an error with its chain of causes. */
export function errorToException(error: unknown): RemoteError {
  return new RemoteError('Error', String(error))
}

/** Turns whatever was thrown into an error for the wire; it never fails. */
export function exceptionToError(error: unknown, _options: { language?: string } = {}): WireError {
  return { type: 'Error', message: String(error) }
}
