/** The operations of the library, in memory. */
import { OPERATIONS, Operation } from '../_operations'
import { dumpRequest, loads } from '../_payload'
import { faultToException } from '../_wire_errors'
import { Advance } from './_advance'
import { Claiming } from './_claiming'
import { stopError } from './_ledger'
import { checkSizes, MAX_PAYLOAD } from './_refusals'
import { kept } from './_retrying'
import { Fault, type Json, type Row } from './_rows'

type Handler = (request: Json) => Json

const LOOKS: ReadonlySet<Operation> = new Set<Operation>([
  Operation.GET_EXECUTION,
  Operation.GET_HISTORY,
  Operation.LIST_EXECUTIONS,
  Operation.PULL_EVENTS,
  Operation.STATS,
  Operation.WAIT_EXECUTION,
])
const DEFAULT_RETRY = { retries: 3, initial_ms: 1000, factor: 2, max_ms: 60_000 }
const REPEATED: Record<string, readonly string[]> = {
  suspend: ['suspended', 'pending'],
  complete: ['completed', 'cancelled'],
  fail: ['failed', 'cancelled'],
}
const NAMES = new Map(
  Object.entries(OPERATIONS).map(([name, { number }]): [Operation, string] => [number, name]),
)

/**
 * Performs operations as the library does, at once: what has to wait is the caller's affair.
 *
 * Delays have no jitter here, so that tests can say when something happens.
 */
export class MemoryEngine extends Claiming {
  /** Called after each change. */
  readonly changed: (() => void)[] = []
  /** The operations that were performed, with their requests, if `keepsCalls`. */
  readonly calls: [name: string, request: Json][] = []
  keepsCalls = false

  /** What takes one request. */
  readonly #singles = new Map<Operation, Handler>([
    [Operation.MIGRATE, () => this.migrate()],
    [Operation.CREATE_EXECUTION, (request) => this.createExecution(request)],
    [Operation.CLAIM, (request) => this.claim(request)],
    [Operation.RECOVER, () => this.recoverNone()],
    [Operation.GET_EXECUTION, (request) => this.getExecution(request)],
    [Operation.LIST_EXECUTIONS, (request) => this.listExecutions(request)],
    [Operation.GET_HISTORY, (request) => this.getHistory(request)],
    [Operation.PULL_EVENTS, (request) => this.#pullEvents(request)],
    [Operation.START_WORKER, (request) => this.startWorker(request)],
    [Operation.STOP_WORKER, (request) => this.stopWorker(request)],
    [Operation.STATS, () => this.stats()],
  ])

  /** What takes a list of items, and gives each a verdict of its own. */
  readonly #batches = new Map<Operation, Handler>([
    [Operation.HEARTBEAT, (item) => this.#heartbeat(item)],
    [Operation.ADVANCE_WORKFLOW, (item) => this.#advanceWorkflow(item)],
    [Operation.SUSPEND_WORKFLOW, (item) => this.#advanceWorkflow({ ...item, then: 'suspend' })],
    [Operation.RECORD_STEP, (item) => this.#recordStep(item)],
    [Operation.COMPLETE_EXECUTION, (item) => this.#completeExecution(item)],
    [Operation.FAIL_EXECUTION, (item) => this.#failExecution(item)],
    [Operation.RELEASE, (item) => this.#release(item)],
    [Operation.RESUME_WORKFLOW, (item) => this.#resumeWorkflow(item)],
    [Operation.CANCEL_EXECUTION, (item) => this.#stop(item, 'Cancelled')],
    [Operation.TERMINATE_EXECUTION, (item) => this.#stop(item, 'Terminated')],
    [Operation.SEND_SIGNAL, (item) => this.sendSignal(item)],
    [Operation.RETRY_EXECUTION, (item) => this.#retryExecution(item)],
  ])

  /**
   * Performs an operation on what the wire makes of the request, and of the reply.
   *
   * @throws WorkflowsError - the operation failed; the class follows from the fault's code.
   * @throws PayloadError - the request is not plain JSON.
   */
  perform(operation: Operation, request: object): any {
    const packed = dumpRequest(request)
    return loads(dumpRequest(this.handle(operation, loads(packed), Buffer.byteLength(packed))))
  }

  /** Performs an operation; `size` says how large its request is, in bytes. */
  handle(operation: Operation, request: Json, size = MAX_PAYLOAD + 1): Json {
    if (this.keepsCalls) this.calls.push([NAMES.get(operation) ?? '', request])
    const reply = this.#answer(operation, request, size)
    const nothing = operation === Operation.CLAIM && reply.executions.length === 0
    if (!LOOKS.has(operation) && !nothing) {
      this.version += 1
      for (const listener of [...this.changed]) listener()
    }
    return reply
  }

  #answer(operation: Operation, request: Json, size: number): Json {
    try {
      const single = this.#singles.get(operation)
      if (single !== undefined) return single(request)
      const batch = this.#batches.get(operation)
      if (batch === undefined) throw new Fault('unknown_operation', `not here: ${operation}`)
      return { results: request.items.map((item: Json) => verdict(batch, item, size)) }
    } catch (error) {
      throw error instanceof Fault ? faultToException(error.wire as any) : error
    }
  }

  /** Answers the row that is held, or undefined if this very write has been taken before. */
  #held(item: Json, ...repeat: readonly string[]): Row | undefined {
    const row = this.find(item.id)
    if (row.bears(item.lease)) {
      if (row.status === 'running') return row
      if (repeat.includes(row.status)) return undefined
    }
    throw new Fault(
      'lease_lost',
      `execution ${row.id} is no longer held under this lease: it went elsewhere, or has ended`,
      { id: row.id },
    )
  }

  #status(item: Json): Json {
    return { status: this.find(item.id).status }
  }

  // --- outcomes ---

  #advanceWorkflow(item: Json): Json {
    const row = this.#held(item, ...(REPEATED[item.then] ?? []))
    if (row !== undefined) return new Advance(this, row, item).write()
    return item.then === 'suspend' ? { status: 'suspended' } : this.#status(item)
  }

  #recordStep(item: Json): Json {
    return this.#advanceWorkflow({ ...item, events: [item.event], then: 'keep' })
  }

  #completeExecution(item: Json): Json {
    if (this.find(item.id).isWorkflow) {
      return this.#advanceWorkflow({ position: 0, ...item, then: 'complete' })
    }
    const row = this.#held(item, 'completed', 'cancelled')
    if (row !== undefined) {
      row.crashes = 0
      if (row.cancelRequested !== undefined) this.end(row, 'cancelled')
      else this.end(row, 'completed', { result: item.result })
    }
    return this.#status(item)
  }

  #failExecution(item: Json): Json {
    if (this.find(item.id).isWorkflow) {
      return this.#advanceWorkflow({ position: 0, ...item, then: 'fail' })
    }
    const row = this.#held(item, 'failed', 'scheduled', 'pending', 'cancelled')
    if (row !== undefined) this.#failed(row, item.error)
    return this.#status(item)
  }

  #failed(row: Row, error: Json): void {
    const retry = { ...DEFAULT_RETRY, ...row.made.retry }
    const { now } = this.clock
    const again =
      !error.non_retryable &&
      row.failures < retry.retries &&
      !retry.non_retryable?.includes(error.type) &&
      (row.deadline === undefined || row.deadline > now)
    const grown = retry.initial_ms * retry.factor ** Math.min(row.failures, 40)
    const delay = Math.min(retry.max_ms, grown)
    row.failures += 1
    row.crashes = 0
    if (row.cancelRequested !== undefined) {
      this.end(row, 'cancelled', { error })
    } else if (!again) {
      this.end(row, 'failed', { error })
    } else if (delay < 1) {
      row.due = now
      this.makePending(row)
    } else {
      this.schedule(row, now + Math.round(1000 * delay))
    }
    row.error = error
  }

  #release(item: Json): Json {
    const row = this.#held(item, 'scheduled', 'pending', 'suspended')
    if (row !== undefined) this.letGo(row, item.reason, item.message || item.reason)
    return this.#status(item)
  }

  #heartbeat(item: Json): Json {
    const row = this.find(item.id)
    if (row.status !== 'running' || !row.bears(item.lease)) {
      throw new Fault('lease_lost', `execution ${row.id} is no longer held`, { id: row.id })
    }
    row.progress = item.progress
    return { status: 'running' }
  }

  #pullEvents(request: Json): Json {
    const worker = this.worker(request.worker_id)
    const { notices } = worker
    worker.notices = []
    return { notices }
  }

  // --- acts from outside ---

  #stop(item: Json, type: 'Cancelled' | 'Terminated'): Json {
    const row = this.find(item.id)
    const force = type === 'Terminated'
    const changed = this.cancel(row, stopError(type, item.reason ?? ''), { force })
    return { status: row.status, changed }
  }

  #resumeWorkflow(item: Json): Json {
    const row = this.find(item.id)
    const changed = row.status === 'suspended' && row.parked !== undefined
    if (changed) {
      row.parked = undefined
      row.due = this.clock.now
      this.makePending(row)
    }
    return { status: row.status, changed }
  }

  #retryExecution(item: Json): Json {
    const reply = this.#resumeWorkflow(item)
    if (reply.changed) return reply
    const row = this.find(item.id)
    if (row.status !== 'failed' && row.status !== 'cancelled') {
      throw new Fault(
        'invalid_state',
        `execution ${row.id} is ${row.status}; only what failed, was cancelled or is parked can` +
          ' be retried',
        { id: row.id, status: row.status },
      )
    }
    this.#nextRun(row)
    return { status: row.status, changed: true }
  }

  /** Starts what failed anew: a workflow from a copy of what went well. */
  #nextRun(row: Row): void {
    const { events: before, error = null, failedSequence: voided } = row
    row.run += 1
    if (before.length > 0) {
      const rest = kept(before, voided)
      row.events.push(...rest.map((event, at) => ({ ...event, position: at + 1 })))
      this.append(row, 'retried', { payload: { error, voided: voided ?? null } })
    }
    row.due = this.clock.now
    row.failures = 0
    row.crashes = 0
    row.reported = true
    row.seen = 0
    for (const field of FORGOTTEN) row[field] = undefined
    this.makePending(row)
  }
}

/** What the next run of an execution knows nothing of. */
const FORGOTTEN = [
  'finished',
  'cancelRequested',
  'parked',
  'result',
  'error',
  'failedSequence',
  'deadline',
  'suspendedBy',
] as const

function verdict(handler: Handler, item: Json, size: number): Json {
  try {
    if (size > MAX_PAYLOAD) checkSizes(item)
    return { ok: handler(item) }
  } catch (error) {
    if (error instanceof Fault) return { error: error.wire }
    throw error
  }
}
