/**
 * The rules that all operations of the engine in memory share.
 *
 * They follow the statements of the library one by one: an end tells the parent and
 * closes children, a cancel marks what has begun and ends what has not, an event wakes
 * who is suspended. A test runs the same scenarios against the library on PostgreSQL.
 */
import type { Status } from '../_operations'
import { Chance } from './_chance'
import { Agenda, Clock, micros } from './_clock'
import { Fault, type Json, present, Row, type WorkerRow } from './_rows'

export const MAX_HISTORY = 50_000
const PROMOTE = 0 // what comes first of what is due at one instant
const FIRE = 1
const EXPIRE = 2
const RECOVER = 3

/** Answers the error of what was stopped. */
export function stopError(type: string, reason = ''): Json {
  const message = reason || 'somebody asked it to stop'
  return { type, message, non_retryable: true, language: 'core' }
}

/** The fields of an event beside its position, type and time. */
export interface EventFields {
  sequence?: number
  name?: string | undefined
  payload?: unknown
  key?: string | undefined
}

/** How an execution ends. */
export interface Ending {
  /** Of a completed one; default null. */
  result?: unknown
  /** Of another. */
  error?: Json | undefined
  /** It is not its holder who ends it. */
  seized?: boolean
}

/** All that is, and what follows from each change of it. */
export class Ledger {
  readonly clock: Clock
  readonly agenda = new Agenda()
  readonly rows = new Map<string, Row>()
  /** By name and idempotency key, as JSON. */
  readonly keys = new Map<string, Row>()
  readonly pending = new Map<string, Row>()
  readonly workers = new Map<string, WorkerRow>()
  maxHistory = MAX_HISTORY
  /** Grows with every change. */
  version = 0
  readonly onEvent = new Set<(row: Row, event: Json) => void>()
  readonly #chance: Chance
  #lastId = { millis: 0, count: 0 }

  constructor(start: Date, seed = 0) {
    this.clock = new Clock(start)
    this.#chance = new Chance(`${seed}:ids`)
  }

  // --- time ---

  /** Goes forward to an instant; what is due until then happens at its own time. */
  advanceTo(to: number): void {
    for (let due = this.agenda.take(to); due !== undefined; due = this.agenda.take(to)) {
      this.clock.advance(due.at)
      this.version += 1
      due.act?.()
    }
    this.clock.advance(to)
  }

  // --- rows ---

  /** Answers a UUIDv7: later ones are greater. */
  newId(): string {
    const millis = Math.floor(this.clock.now / 1000)
    let { millis: last, count } = this.#lastId
    if (millis > last) [last, count] = [millis, 0]
    else if (++count > 0xfff) [last, count] = [last + 1, 0]
    this.#lastId = { millis: last, count }
    const time = last.toString(16).padStart(12, '0')
    const middle = `7${count.toString(16).padStart(3, '0')}`
    return `${time.slice(0, 8)}-${time.slice(8)}-${middle}-${this.#chance.variant()}`
  }

  /** Answers a random UUID. */
  newToken(): string {
    const chance = this.#chance
    return `${chance.hex(8)}-${chance.hex(4)}-4${chance.hex(3)}-${chance.variant()}`
  }

  /** Makes an execution, or answers the one that has its id. */
  add(made: Json, parent?: Row, sequence = 0, closePolicy?: string): Row {
    const id: string = made.id || this.newId()
    const known = this.rows.get(id)
    if (known !== undefined) return known
    const { now } = this.clock
    const due = made.run_at ? micros(made.run_at) : now
    const row = new Row(id, made, now, due + 1000 * Math.max(0, made.delay_ms ?? 0))
    this.rows.set(id, row)
    row.args = made.args ?? []
    row.kwargs = made.kwargs ?? {}
    if (parent !== undefined) {
      Object.assign(row, { parent, parentRun: parent.run, sequence, closePolicy })
      parent.children.push(row)
    }
    if (row.due > now) this.schedule(row, row.due)
    else this.makePending(row)
    this.#limit(row)
    return row
  }

  /** Enters its deadlines; a child's is not after its parent's, unless it is detached. */
  #limit(row: Row): void {
    const { now } = this.clock
    const { timeout_ms: timeout, schedule_timeout_ms: toStart } = row.made
    let deadline = timeout ? now + 1000 * timeout : undefined
    const inherited = row.closePolicy === 'detach' ? undefined : row.parent?.deadline
    if (inherited !== undefined) deadline = Math.min(deadline ?? inherited, inherited)
    row.deadline = deadline
    if (deadline !== undefined) this.#expireAt(row, deadline, 'timeout', 'ExecutionTimeout')
    if (toStart) this.#expireAt(row, now + 1000 * toStart, 'schedule timeout', 'ScheduleTimeout')
  }

  #expireAt(row: Row, at: number, what: string, type: string): void {
    const words = `the ${what} of ${row.kind} ${row.name}`
    row.waiting.push(this.agenda.add(at, words, () => this.#expire(row, type), EXPIRE))
  }

  /** Lets an execution be claimed. */
  makePending(row: Row): void {
    row.status = 'pending'
    this.pending.set(row.id, row)
  }

  /** Lets an execution be claimed from an instant on. */
  schedule(row: Row, at: number): void {
    row.status = 'scheduled'
    row.due = at
    const promote = () => {
      if (row.status === 'scheduled' && row.due === at) this.makePending(row)
    }
    this.agenda.add(at, `the start of ${row.kind} ${row.name}`, promote, PROMOTE)
  }

  // --- events ---

  /** Writes an event into a history. */
  append(row: Row, type: string, fields: EventFields = {}): Json {
    const { key, ...rest } = fields
    const event = present({
      position: row.events.length + 1,
      type,
      at: this.clock.at(),
      ...rest,
    })
    if (key !== undefined) row.keys.add(key)
    row.events.push(event)
    for (const listener of [...this.onEvent]) listener(row, event)
    return event
  }

  /** Writes an event that comes from outside, and wakes the workflow. */
  tell(row: Row, type: string, fields: EventFields = {}): void {
    this.append(row, type, fields)
    if (row.status === 'suspended') {
      row.due = this.clock.now
      if (row.parked === undefined) this.makePending(row)
    } else if (row.status === 'running' && !row.newsTold) {
      row.newsTold = true
      this.notify(row, 'new_events')
    }
  }

  /** Tells the holder something about its lease. */
  notify(row: Row, what: string): void {
    if (row.worker !== undefined && !row.worker.gone) {
      row.worker.notices.push({ id: row.id, lease: row.lease, [what]: true })
    }
  }

  /**
   * Refuses what would make a history too long.
   *
   * @throws Fault - it would.
   */
  checkHistory(row: Row, length: number, more: number): void {
    const limit = this.maxHistory
    if (more <= 0 || length + more <= limit) return
    throw new Fault(
      'history_too_long',
      `the history of workflow ${row.id} has ${length} events, and ${more} more would pass the` +
        ` limit of ${limit} (max_history); its code must continue as new (continue_as_new) before`,
      { id: row.id, length, limit },
    )
  }

  // --- timers ---

  /** Starts a durable timer. */
  startTimer(row: Row, sequence: number, name: string, delayMs: number): void {
    const fire = () => {
      row.timers.delete(sequence)
      this.tell(row, 'timer_fired', { sequence })
    }
    const what = `the timer '${name}' of workflow ${row.name}`
    row.timers.set(sequence, this.agenda.add(this.clock.now + 1000 * delayMs, what, fire, FIRE))
  }

  /** Takes a timer back, unless it has fired. */
  dropTimer(row: Row, sequence: number): boolean {
    row.timers.get(sequence)?.drop()
    return row.timers.delete(sequence)
  }

  /** Takes all timers of a workflow back. */
  dropTimers(row: Row): void {
    for (const sequence of [...row.timers.keys()]) this.dropTimer(row, sequence)
  }

  #expire(row: Row, type: string): void {
    if (!row.isOpen || (type === 'ScheduleTimeout' && row.started !== undefined)) return
    const message =
      type === 'ExecutionTimeout'
        ? 'the execution did not end within its timeout'
        : 'no worker started the execution within its schedule timeout'
    const error = { type, message, non_retryable: true, language: 'core' }
    this.end(row, 'failed', { error, seized: true })
  }

  // --- ends ---

  /** Ends an execution with a final status, tells its parent and closes its children. */
  end(row: Row, status: Status, { result = null, error, seized }: Ending = {}): void {
    if (seized && row.status === 'running') this.notify(row, 'lost')
    this.pending.delete(row.id)
    const completed = status === 'completed'
    Object.assign(row, { status, finished: this.clock.now, parked: undefined })
    Object.assign(row, completed ? { result, error: undefined } : { result: undefined, error })
    this.dropTimers(row)
    for (const due of row.waiting) due.drop()
    row.waiting = []
    this.#report(row)
    this.closeChildren(row, row.run)
  }

  /** Tells the parent, if it still is in the same run and wants to know. */
  #report(row: Row): void {
    const { parent } = row
    if (parent === undefined || row.reported || !parent.isOpen) return
    if (parent.run !== row.parentRun) return
    const failure = { error: row.error ?? null, attempts: row.attempts }
    const payload = row.status === 'completed' ? row.result : failure
    const type = `${row.isWorkflow ? 'child' : 'activity'}_${row.status}`
    this.tell(parent, type, { sequence: row.sequence, name: row.name, payload })
  }

  /** Cancels the children of a run that has ended, unless they were detached. */
  closeChildren(row: Row, run: number): void {
    for (const child of row.children) {
      if (child.parentRun !== run || child.closePolicy !== 'cancel' || !child.isOpen) continue
      if (child.cancelRequested !== undefined) continue
      this.cancel(child, stopError('Cancelled', 'its parent ended'))
    }
  }

  /**
   * Asks an execution to stop, and answers whether that changed anything.
   *
   * What has begun is marked, what has not is ended, with force too. A mute child does not
   * report its end.
   */
  cancel(row: Row, error: Json, { force = false, mute = false } = {}): boolean {
    if (hasBegun(row) && row.parked === undefined && !force) return this.#mark(row, error, mute)
    const waits = row.status === 'scheduled' || row.status === 'pending'
    if (!(force && row.isOpen) && row.parked === undefined && !waits) return false
    row.cancelRequested ??= this.clock.now
    row.reported ||= mute
    this.end(row, 'cancelled', { error, seized: true })
    return true
  }

  #mark(row: Row, error: Json, mute: boolean): boolean {
    row.reported ||= mute
    if (row.cancelRequested !== undefined) return false
    row.cancelRequested = this.clock.now
    if (row.isWorkflow && row.language === undefined) {
      row.error = error // it waits for another run, whose start tells of it
    } else if (row.isWorkflow) {
      this.tell(row, 'cancel_requested', { payload: error })
    } else if (!row.cancelTold) {
      row.cancelTold = true
      this.notify(row, 'cancel_requested')
    }
    return true
  }

  // --- workers that are lost ---

  /** A worker has died; the others notice it after a while. */
  lose(worker: WorkerRow, afterMs: number): void {
    worker.gone = true
    const what = `the recovery of what worker ${worker.id} held`
    const recover = () => this.recover(worker, true)
    this.agenda.add(this.clock.now + 1000 * afterMs, what, recover, RECOVER)
  }

  /** Answers what a worker holds. */
  heldBy(worker: WorkerRow): Row[] {
    return [...this.rows.values()].filter(
      (row) => row.status === 'running' && row.worker === worker,
    )
  }

  /** Takes what a worker held. */
  recover(worker: WorkerRow, crashed: boolean): void {
    for (const row of this.heldBy(worker)) this.#takeBack(row, crashed)
  }

  #takeBack(row: Row, crashed: boolean): void {
    if (row.cancelRequested !== undefined && !row.isWorkflow) {
      const error = stopError('Cancelled', 'it was asked to stop, and its worker died')
      this.end(row, 'cancelled', { error })
    } else if (crashed && row.crashes >= 2 && row.alone) {
      row.crashes += 1
      const message = `the worker died ${row.crashes} times in a row while it ran this`
      this.end(row, 'failed', { error: stopError('WorkerLost', message) })
      row.parked = 'worker_lost'
    } else {
      // Who crashed twice and was not alone may be innocent.
      if (crashed && (row.crashes < 2 || row.alone)) row.crashes += 1
      this.makePending(row)
    }
    row.token = undefined
    row.alone = false
    row.seen = 0
  }
}

function hasBegun(row: Row): boolean {
  const waits = row.status === 'scheduled' || row.status === 'pending' || row.status === 'suspended'
  return row.status === 'running' || (row.isWorkflow && row.started !== undefined && waits)
}
