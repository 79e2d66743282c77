/** The one write of a workflow, in memory. */
import { type Ledger, stopError } from './_ledger'
import { Fault, type Json, present, type Row } from './_rows'

const THEN = new Set(['keep', 'suspend', 'complete', 'fail', 'continue'])

/** Writes the events and commands of one advance, and decides what follows. */
export class Advance {
  readonly #position: number
  readonly #then: string
  readonly #commands: readonly Json[]
  readonly #steps: readonly Json[]
  /** What is there after the position already, and is not written again. */
  readonly #there: ReadonlySet<string>
  readonly #cancelled = new Set<number>()
  #waking = false

  constructor(
    private readonly ledger: Ledger,
    private readonly row: Row,
    private readonly item: Json,
  ) {
    this.#position = item.position
    this.#then = item.then
    this.#commands = item.commands ?? []
    this.#steps = item.events ?? []
    this.#there = new Set(
      row.events.slice(this.#position).map((event) => `${event.type} ${event.sequence}`),
    )
  }

  /** Writes it and answers where the workflow stands. */
  write(): Json {
    const { row } = this
    this.#check()
    const known = row.events.length
    for (const step of this.#steps) this.#step(step)
    for (const command of this.#commands) this.#command(command)
    row.crashes = 0
    row.newsTold = false
    this.#remember()
    if (this.#then === 'suspend' && !this.#waking && known === this.#position) this.#suspend()
    for (const sequence of this.#cancelled) this.#cancelChild(sequence)
    const ends = this.#then !== 'keep' && this.#then !== 'suspend'
    return ends ? this.#finish() : this.#answer()
  }

  /** Refuses what cannot be written, before anything is. */
  #check(): void {
    if (!THEN.has(this.#then)) {
      throw new Fault(
        'invalid_request',
        `then is '${this.#then}'; it must be keep, suspend, complete, fail or continue`,
      )
    }
    const commands = this.#commands.filter((command) => command.type !== 'cancel')
    if (this.#then === 'keep' || this.#then === 'suspend') {
      const fired = commands.filter((c) => c.type === 'start_timer' && (c.delay_ms ?? 0) <= 0)
      const more = this.#steps.length + commands.length + fired.length
      this.ledger.checkHistory(this.row, this.#position, more)
    }
    for (const command of commands) this.#checkNew(command.execution ?? {})
  }

  #checkNew(made: Json): void {
    const taken = this.ledger.rows.get(made.id ?? '')
    if (taken !== undefined && taken.parent !== this.row) {
      throw new Fault(
        'invalid_request',
        'the id of an execution to schedule is taken by another execution; choose another, or' +
          ' leave it to the library',
      )
    }
    for (const field of ['idempotency_key', 'signals']) {
      const given = made[field]
      const empty = given === undefined || given === null || given.length === 0
      if (!empty) throw new Fault('invalid_request', `${field} is not for workflow code`)
    }
  }

  #remember(): void {
    const { sent, run } = this.row
    const taken = sent.get(run) ?? new Map<string, Json>()
    sent.set(run, taken)
    for (const command of this.#commands) {
      const key = `${command.sequence} ${command.type}`
      if (!taken.has(key)) taken.set(key, command)
    }
  }

  #suspend(): void {
    const { row } = this
    row.status = 'suspended'
    row.seen = row.events.length
    if (row.worker === undefined || row.token === undefined) return
    row.suspendedBy = { worker: row.worker, token: row.token, position: row.events.length }
  }

  #answer(): Json {
    const { row } = this
    return {
      status: row.status === 'suspended' ? 'suspended' : 'running',
      position: row.events.length,
      events: row.events.slice(this.#position),
    }
  }

  // --- what is asked for ---

  #step(step: Json): void {
    this.#waking = true
    this.#event(step.type, step.sequence, step.name, step.payload)
  }

  #command(command: Json): void {
    const { sequence, name } = command
    if (command.type === 'cancel') this.#cancel(sequence)
    else if (command.type === 'schedule') this.#schedule(command)
    else if (command.type === 'start_timer') this.#timer(command)
    else if (command.type === 'mark_version') {
      this.#event('version_marked', sequence, name, command.version)
    } else {
      this.row.state = command.state
      this.#event('state_set', sequence, undefined, command.state)
    }
  }

  #event(type: string, sequence: number, name?: string, payload?: unknown): boolean {
    if (this.#there.has(`${type} ${sequence}`)) return false
    this.ledger.append(this.row, type, { sequence, name, payload })
    return true
  }

  #schedule(command: Json): void {
    const { sequence, execution } = command
    const made = { ...execution, id: execution.id ?? this.ledger.newId() }
    const type = made.kind === 'workflow' ? 'child_started' : 'activity_scheduled'
    if (this.#event(type, sequence, made.name, { id: made.id })) {
      this.ledger.add(made, this.row, sequence, command.close_policy || 'cancel')
    }
  }

  #timer(command: Json): void {
    const { sequence } = command
    const delay = Math.max(0, command.delay_ms ?? 0)
    const name = command.name || undefined
    const fresh = this.#event('timer_started', sequence, name, { delay_ms: delay })
    if (delay === 0) {
      this.#waking = true
      this.#event('timer_fired', sequence)
    } else if (fresh) {
      this.ledger.startTimer(this.row, sequence, name ?? '', delay)
    }
  }

  /** Records the cancel at once; the child falls silent and is cancelled afterwards. */
  #cancel(sequence: number): void {
    const { row, ledger } = this
    if (this.#cancelled.has(sequence)) return
    this.#cancelled.add(sequence)
    if (ledger.dropTimer(row, sequence)) ledger.append(row, 'timer_cancelled', { sequence })
    for (const child of this.#children(sequence)) {
      if (!child.isOpen || child.reported) continue
      const type = child.isWorkflow ? 'child_cancelled' : 'activity_cancelled'
      ledger.append(row, type, { sequence, name: child.name })
    }
  }

  #cancelChild(sequence: number): void {
    for (const child of this.#children(sequence)) {
      this.ledger.cancel(child, stopError('Cancelled', 'its parent cancelled it'), { mute: true })
    }
  }

  #children(sequence: number): Row[] {
    const { children, run } = this.row
    return children.filter((child) => child.sequence === sequence && child.parentRun === run)
  }

  // --- the end ---

  #finish(): Json {
    const { row, item, ledger } = this
    const unseen = row.events.slice(this.#position)
    if (unseen.some((event) => event.type === 'cancel_requested')) return this.#answer()
    const { result, error, args, kwargs } = item
    row.outcomes.set(row.run, present({ then: this.#then, result, error, args, kwargs }))
    row.failedSequence = this.#then === 'fail' ? (error?.sequence ?? undefined) : undefined
    if (this.#then === 'fail') row.failures += 1
    const asked = row.cancelRequested !== undefined
    if (asked) ledger.end(row, 'cancelled', { error })
    else if (this.#then === 'continue') this.#continue()
    else if (this.#then === 'complete') ledger.end(row, 'completed', { result })
    else ledger.end(row, 'failed', { error })
    return { status: row.status }
  }

  /** Ends the run, and begins the next one with what the code has not taken yet. */
  #continue(): void {
    const { row, item, ledger } = this
    const carried = new Set<number>(item.carry)
    const taken = row.events.filter(
      ({ type, position }) =>
        type === 'signal_received' && (carried.has(position) || position > this.#position),
    )
    ledger.append(row, 'continued', { payload: { args: row.args, kwargs: row.kwargs } })
    ledger.dropTimers(row)
    row.run += 1
    ledger.closeChildren(row, row.run - 1)
    row.args = item.args ?? []
    row.kwargs = item.kwargs ?? {}
    row.language = undefined
    row.attempts = 0
    row.seen = 0
    row.due = ledger.clock.now
    row.events.push(...taken.map((event, at) => ({ ...event, position: at + 1 })))
    ledger.makePending(row)
  }
}
