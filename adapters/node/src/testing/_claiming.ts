/** Making executions, handing them to workers, and putting them back. */
import { stopError } from './_ledger'
import { Looking } from './_looking'
import { checkSizes } from './_refusals'
import { Fault, type Json, present, type Row, WorkerRow } from './_rows'

/** Creates, claims and puts back. */
export class Claiming extends Looking {
  /** What was put back, in order. */
  readonly putBack: Row[] = []
  #solo = false // something that crashed twice is held, and nothing beside it

  // --- making ---

  protected createExecution(request: Json): Json {
    for (const made of request.items) checkSizes(made)
    return { results: request.items.map((made: Json) => this.#create(made)) }
  }

  #create({ signals, ...made }: Json): Json {
    if (signals?.length && made.kind !== 'workflow') {
      throw new Fault('invalid_request', `signals are for workflows, not for a ${made.kind}`)
    }
    const key = made.idempotency_key && JSON.stringify([made.name, made.idempotency_key])
    const known = key ? this.keys.get(key) : this.rows.get(made.id ?? '')
    const row = known ?? this.add(made)
    if (key) this.keys.set(key, row)
    const reply = { id: row.id, created: known === undefined }
    return signals?.length ? { ...reply, signaled: this.#signalAll(row, signals) } : reply
  }

  #signalAll(row: Row, signals: Json[]): boolean {
    for (const signal of signals) {
      try {
        this.sendSignal({ id: row.id, ...signal })
      } catch (error) {
        if (error instanceof Fault && error.wire.code === 'execution_finished') return false
        throw error
      }
    }
    return true
  }

  protected sendSignal(item: Json): Json {
    const row = this.find(item.id)
    const key: string | undefined = item.idempotency_key ?? undefined
    if (!row.isWorkflow) {
      throw new Fault(
        'invalid_state',
        `execution ${row.id} is of kind ${row.kind}; only workflows take signals`,
        { id: row.id, kind: row.kind },
      )
    }
    if (key !== undefined && row.keys.has(key)) return { delivered: false }
    if (!row.isOpen) {
      throw new Fault(
        'execution_finished',
        `workflow ${row.id} has ended (${row.status}) and takes no more signals`,
        { id: row.id, status: row.status },
      )
    }
    this.checkHistory(row, row.events.length, 1)
    this.tell(row, 'signal_received', { name: item.name, payload: item.payload ?? null, key })
    return { delivered: true }
  }

  // --- workers ---

  protected startWorker(request: Json): Json {
    const worker = new WorkerRow(this.newToken(), request)
    this.workers.set(worker.id, worker)
    return { worker_id: worker.id, max_history: this.maxHistory }
  }

  /**
   * Answers a worker that has not stopped.
   *
   * @throws Fault - there is none.
   */
  worker(id: string): WorkerRow {
    const worker = this.workers.get(id)
    if (worker === undefined || worker.gone) {
      throw new Fault('worker_not_found', `no worker of this process has id ${id}`, { id })
    }
    return worker
  }

  protected stopWorker(request: Json): Json {
    const worker = this.worker(request.worker_id)
    worker.draining = true
    if (request.drain) return { released: 0 }
    worker.gone = true
    const held = this.heldBy(worker)
    for (const row of held) this.letGo(row, 'drain', '')
    return { released: held.length }
  }

  // --- claiming ---

  protected claim(request: Json): Json {
    const worker = this.worker(request.worker_id)
    if (worker.draining) return { executions: [], draining: true }
    const lacking = new Set<string>()
    for (const { kind, name } of request.lacking ?? []) lacking.add(`${kind} ${name}`)
    const due = this.#due(worker, request.n, lacking)
    return { executions: due.map((row) => this.take(row, worker)) }
  }

  /** Answers what the worker is to have, best first. What crashed twice is claimed alone. */
  #due(worker: WorkerRow, most: number, lacking: ReadonlySet<string>): Row[] {
    const { language } = worker.request
    const due = [...this.pending.values()]
      .filter((row) => worker.serves(row.queue))
      .filter((row) => !row.isWorkflow || [undefined, language].includes(row.language))
      .filter((row) => !lacking.has(`${row.kind} ${row.name}`))
      .sort(byPriority)
    const suspects = due.filter((row) => row.crashes >= 2)
    if (suspects.length > 0 || this.#solo) {
      const held = this.heldBy(worker)
      if (held.some((row) => row.alone)) return []
      this.#solo = suspects.length > 0 && held.length === 0
      if (this.#solo) {
        for (const suspect of suspects.slice(0, 1)) suspect.alone = true
        return suspects.slice(0, 1)
      }
    }
    return due.filter((row) => row.crashes < 2).slice(0, most)
  }

  /** Claims an execution, and answers it with its history. */
  take(row: Row, worker: WorkerRow): Json {
    const suspended = row.suspendedBy
    this.pending.delete(row.id)
    Object.assign(row, { status: 'running', worker, suspendedBy: undefined, newsTold: false })
    row.epoch += 1
    row.token = this.newToken()
    row.started ??= this.clock.now
    row.cancelTold = row.cancelRequested !== undefined
    if (!row.isWorkflow) row.attempts += 1
    else if (row.language === undefined) this.#begin(row, worker)
    const claimed = claimedOf(row)
    row.claims.set(row.run, claimed)
    const seen = row.seen > 0 && { seen: row.seen }
    row.seen = 0
    if (!row.isWorkflow) return claimed
    if (!worker.warm || suspended?.worker !== worker) {
      return { ...claimed, ...seen, events: row.events }
    }
    const { token, position } = suspended
    row.seen = position
    const after = { after: position, previous_token: token }
    return { ...claimed, ...seen, ...after, events: row.events.slice(position) }
  }

  /** Begins a run; a cancel that came between two runs is told behind its start. */
  #begin(row: Row, worker: WorkerRow): void {
    const { language = '', runtime = '', sdk_version = '' } = worker.request
    row.language = language
    row.attempts += 1
    this.append(row, 'started', { payload: { language, runtime, sdk_version } })
    if (row.cancelRequested !== undefined) {
      this.append(row, 'cancel_requested', { payload: row.error })
    }
  }

  /** Puts an execution back: no attempt, no crash. What was asked to stop is ended instead. */
  protected letGo(row: Row, reason: string, message: string): void {
    row.released = reason
    row.releases += 1
    row.crashes = 0
    this.putBack.push(row)
    if (row.cancelRequested !== undefined && !row.isWorkflow) {
      const error = stopError('Cancelled', 'it was asked to stop before it ran')
      this.end(row, 'cancelled', { error })
      return
    }
    if (!row.isWorkflow) {
      if (row.attempts === 1) row.started = undefined
      row.attempts -= 1
    }
    row.token = undefined
    row.alone = false
    row.seen = 0
    this.#requeue(row, reason, message)
  }

  #requeue(row: Row, reason: string, message: string): void {
    if (reason === 'drain') {
      this.makePending(row)
    } else if (reason === 'no_function') {
      const wait = Math.min(30_000, 500 * 2 ** Math.min(row.releases - 1, 10))
      this.schedule(row, this.clock.now + 1000 * wait)
    } else {
      row.status = 'suspended'
      row.parked = message
    }
  }
}

function byPriority(one: Row, other: Row): number {
  return other.priority - one.priority || one.due - other.due || (one.id < other.id ? -1 : 1)
}

/** Answers an execution as a claim does, without its history. */
function claimedOf(row: Row): Json {
  const { retry, attempt_timeout_ms } = row.made
  const reply = row.reply()
  return present({
    id: reply.id,
    run: reply.run,
    kind: reply.kind,
    name: reply.name,
    queue: reply.queue,
    root_id: reply.root_id,
    parent_id: reply.parent_id,
    lease: row.lease,
    priority: reply.priority,
    attempt: row.attempts,
    args: reply.args,
    kwargs: reply.kwargs,
    retry: retry ?? undefined,
    attempt_timeout_ms: attempt_timeout_ms || undefined,
    deadline_at: reply.deadline_at,
    cancel_requested: row.cancelRequested === undefined ? undefined : true,
    progress: reply.progress,
    version: reply.version,
    position: row.isWorkflow ? row.events.length : 0,
  })
}
