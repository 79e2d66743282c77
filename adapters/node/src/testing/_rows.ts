/** The rows of the engine in memory: executions and workers. */
import type { Status } from '../_operations'
import { type Due, text } from './_clock'

export type Json = Record<string, any>

export const FINAL: ReadonlySet<Status> = new Set<Status>(['completed', 'failed', 'cancelled'])

/** A way in which an operation fails, as the library has it. */
export class Fault extends Error {
  readonly wire: Json

  constructor(code: string, message: string, details?: Json) {
    super(message)
    this.wire = { code, message, retryable: false, ...(details && { details }) }
  }
}

/** A worker, one incarnation of it. */
export class WorkerRow {
  draining = false
  gone = false
  notices: Json[] = []

  constructor(
    readonly id: string,
    readonly request: Json,
  ) {}

  /** Whether it keeps suspended workflows, so that a claim may bring newer events only. */
  get warm(): boolean {
    return Boolean(this.request.warm)
  }

  /** Whether it runs what is on this queue; "*" is every queue. */
  serves(queue: string): boolean {
    return this.request.queues.includes(queue) || this.request.queues.includes('*')
  }
}

/** Who suspended a workflow, under which token, at which position. */
export interface Suspension {
  worker: WorkerRow
  token: string
  position: number
}

/** An execution. What is undefined in `result`, `state` or `progress` was never there. */
export class Row {
  parent: Row | undefined
  parentRun = 0
  sequence = 0
  closePolicy: string | undefined
  status: Status = 'pending'
  run = 1
  started: number | undefined
  finished: number | undefined
  deadline: number | undefined
  worker: WorkerRow | undefined
  epoch = 0
  token: string | undefined
  alone = false
  attempts = 0
  failures = 0
  crashes = 0
  releases = 0
  reported = false
  cancelRequested: number | undefined
  cancelTold = false
  newsTold = false
  parked: string | undefined
  released: string | undefined
  language: string | undefined
  result: unknown
  error: Json | undefined
  failedSequence: number | undefined
  state: unknown
  progress: unknown
  args: unknown[] = []
  kwargs: Json = {}
  readonly histories = new Map<number, Json[]>()
  /** Who suspended it last: for a warm claim. */
  suspendedBy: Suspension | undefined
  /** The position at which this run was suspended last: its code has run so far. */
  seen = 0
  readonly timers = new Map<number, Due>()
  /** Its deadlines. */
  waiting: Due[] = []
  readonly keys = new Set<string>()
  readonly children: Row[] = []
  /** What the code was last started from, by run. */
  readonly claims = new Map<number, Json>()
  /** The commands that were taken, by run, then by sequence and type (`1 schedule`). */
  readonly sent = new Map<number, Map<string, Json>>()
  /** How the code of a run ended, as it said it. */
  readonly outcomes = new Map<number, Json>()

  constructor(
    readonly id: string,
    readonly made: Json,
    readonly created: number,
    public due: number,
  ) {}

  /** Job, activity or workflow. */
  get kind(): string {
    return this.made.kind
  }

  /** The function's. */
  get name(): string {
    return this.made.name
  }

  /** Whose workers run it. */
  get queue(): string {
    return this.made.queue || 'default'
  }

  /** The higher, the sooner. */
  get priority(): number {
    return this.made.priority ?? 5
  }

  /** Whether it has a history. */
  get isWorkflow(): boolean {
    return this.made.kind === 'workflow'
  }

  /** Whether it has not ended. */
  get isOpen(): boolean {
    return !FINAL.has(this.status)
  }

  /** The first of the line. */
  get root(): Row {
    let row: Row = this
    while (row.parent !== undefined) row = row.parent
    return row
  }

  /** The history of the present run. */
  get events(): Json[] {
    let found = this.histories.get(this.run)
    if (found === undefined) {
      found = []
      this.histories.set(this.run, found)
    }
    return found
  }

  /** Under which it is held. */
  get lease(): Json {
    return { epoch: this.epoch, token: this.token }
  }

  /** Whether this lease was the last one. */
  bears(lease: Json): boolean {
    return this.token !== undefined && lease.token === this.token && lease.epoch === this.epoch
  }

  /** Answers the execution as `get_execution` does. */
  reply(): Json {
    return present({
      id: this.id,
      kind: this.kind,
      name: this.name,
      queue: this.queue,
      status: this.status,
      priority: this.priority,
      run: this.run,
      root_id: this.root.id,
      ...(this.parent && { parent_id: this.parent.id, sequence: this.sequence }),
      attempts: this.attempts,
      failures: this.failures,
      crashes: this.crashes,
      releases: this.releases,
      history_length: this.events.length,
      idempotency_key: this.made.idempotency_key,
      version: this.made.version,
      language: this.language,
      parked: this.parked,
      error: this.error,
      worker: this.worker?.id,
      ...this.instants(),
      args: this.args,
      kwargs: this.kwargs,
      result: this.result,
      progress: this.progress,
      state: this.state,
    })
  }

  private instants(): Json {
    const told = (at: number | undefined) => (at === undefined ? undefined : text(at))
    return {
      created_at: text(this.created),
      run_at: text(this.due),
      cancel_requested_at: told(this.cancelRequested),
      started_at: told(this.started),
      finished_at: told(this.finished),
      deadline_at: told(this.deadline),
    }
  }
}

/** Answers an object without what is undefined in it; null stays. */
export function present(found: Json): Json {
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}
