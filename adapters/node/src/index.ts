/** libworkflows: durable jobs, activities and workflows on nothing but PostgreSQL. */

export {
  type AttemptInfo,
  abortSignal,
  attemptInfo,
  cancelled,
  heartbeat,
  lastHeartbeat,
} from './_attempts'
export type {
  Change,
  Created,
  Event,
  Execution,
  ExecutionPage,
  Migrated,
  NewExecution,
  Sent,
  Stats,
  Status,
} from './_camel'
export {
  Client,
  type ClientOptions,
  client,
  configure,
  type HistoryOptions,
  type ListOptions,
} from './_client'
export { all, allSettled, asCompleted, race, shield, timeout, wait } from './_combinators'
export {
  Busy,
  Cancelled,
  CancelledError,
  Closed,
  DatabaseUnavailable,
  Evicted,
  ExecutionFinished,
  ExecutionNotFound,
  Forked,
  HistoryTooLong,
  Internal,
  InvalidConfig,
  InvalidDuration,
  InvalidHandle,
  InvalidPayload,
  InvalidRequest,
  InvalidState,
  LeaseLost,
  LibraryMismatch,
  LibraryNotFound,
  NonDeterminismError,
  NonRetryableError,
  NotDurableError,
  PayloadError,
  PayloadTooLarge,
  PermissionDenied,
  SchemaMissing,
  SchemaOutdated,
  SchemaTooNew,
  SignalTimeout,
  Timeout,
  TimeoutError,
  UnknownOperation,
  VersionError,
  WorkerNotFound,
  WorkflowsError,
  type WorkflowsErrorOptions,
  WrongLanguage,
} from './_errors'
export {
  activity,
  type Define,
  type DefineQueued,
  type DefineStep,
  type Durable,
  type ExternalFn,
  type Fn,
  job,
  type StepFn,
  step,
  workflow,
} from './_functions'
export { Handle, type SignalOptions, type WaitOptions } from './_handles'
export type { BodyOptions, Named, Options, StepOptions, WorkflowOptions } from './_options'
export {
  ActivityCancelled,
  ActivityError,
  ActivityTimeout,
  ChildCancelled,
  ChildError,
  ChildFailed,
  ChildTimeout,
  ExecutionCancelled,
  ExecutionFailed,
  ResultTimeout,
  StepError,
} from './_outcomes'
export type { Duration } from './_settings'
export { RemoteError } from './_wire_errors'
export type { Wire } from './_wire_types'
export { Worker, type WorkerOptions } from './_worker'
export {
  continueAsNew,
  getState,
  getVersion,
  isReplaying,
  now,
  random,
  sendSignal,
  setState,
  sleep,
  uuid4,
  type WorkflowInfo,
  waitForSignal,
  workflowInfo,
} from './_workflow'
