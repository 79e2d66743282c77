/** What a workflow's code has asked for: what nobody has heard of yet, and what has not ended. */

import { Call, type Callee, cancellationOf, type StepCall } from './_calls'
import type { Scope } from './_cancelling'
import { Few } from './_few'
import type { Command } from './_operations'
import { type Json, plain } from './_payload'
import type { Replay } from './_replay'

/** The open requests of one workflow, by sequence. */
export class Asked {
  /** Calls whose end no event has told of yet. */
  readonly pending = new Few<Call>()
  /** What timers do when they fire. */
  readonly timers = new Few<() => void>()
  /** Steps that the worker is to run. */
  readonly steps = new Few<StepCall>()
  /** Steps that it was given. */
  readonly stepsRunning = new Few<Call>()
  /** Steps that the code has cancelled while their bodies ran; the worker takes them out. */
  readonly stepsDropped: number[] = []
  readonly #commands = new Few<Command>()

  constructor(private readonly replay: Replay) {}

  /** Whether anything of it will end. */
  get isOpen(): boolean {
    return this.pending.size > 0 || this.timers.size > 0
  }

  /** Forgets all. */
  drop(): void {
    this.pending.clear()
    this.timers.clear()
    this.steps.clear()
    this.#commands.clear()
  }

  // --- what goes out ---

  /** Gives a command, unless the code does not count any more. */
  emit(command: Command): void {
    const { history, over } = this.replay
    if (history.fault === undefined && !over) this.#commands.set(command.sequence, command)
  }

  /** Answers the commands that nobody has heard of, and forgets them. */
  handedOver(): Command[] {
    if (this.#commands.size === 0) return []
    const commands = this.#commands.values()
    this.#commands.clear()
    return commands
  }

  /** Answers the steps that are wanted, and notes that they run. */
  stepsToRun(): StepCall[] {
    if (this.steps.size === 0) return []
    const steps = this.steps.values().filter(({ call }) => !call.done)
    this.steps.clear()
    for (const { call } of steps) this.stepsRunning.set(call.sequence, call)
    return steps
  }

  // --- what comes in ---

  /** Answers the call that an event ends. */
  taken(sequence: number): Call | undefined {
    const call = this.pending.get(sequence)
    this.pending.delete(sequence)
    return call?.done === false ? call : undefined
  }

  /** A timer has fired; answers whether anybody waits for it. */
  fired(sequence: number): boolean {
    const fire = this.timers.get(sequence)
    this.timers.delete(sequence)
    fire?.()
    return fire !== undefined
  }

  // --- what the code does ---

  /** Makes the call of a command. */
  expect(scope: Scope, sequence: number, kind: 'activity' | 'child' | 'step', fn: Callee): Call {
    const call = new Call(scope, kind, fn.functionName)
    call.sequence = sequence
    this.pending.set(sequence, call)
    return call
  }

  /** Starts a durable timer and answers its sequence. */
  timer(delayMs: number, name: string, fire: () => void): number {
    const { sequence, recorded } = this.replay.history.next('timer', name)
    this.timers.set(sequence, fire)
    if (recorded === undefined) {
      this.emit({ type: 'start_timer', sequence, name, delay_ms: delayMs })
    }
    return sequence
  }

  /** Publishes a state for whoever looks at the execution. */
  setState(value: unknown): void {
    const state: Json = plain(value ?? null, 'state')
    if (this.replay.over) return
    const { sequence, recorded } = this.replay.history.next('state', '')
    if (recorded === undefined) this.emit({ type: 'set_state', sequence, state })
  }

  /** Answers the version of a change that this workflow goes by, one for all its life. */
  getVersion(change: string, minimum: number, maximum: number): number {
    const [version, sequence] = this.replay.history.version(change, minimum, maximum)
    if (sequence === undefined) return version
    this.emit({ type: 'mark_version', sequence, name: change, version })
    return version
  }

  /** Cancels a durable timer that has not fired. */
  cancelTimer(sequence: number): void {
    if (this.timers.delete(sequence)) this.#cancel(sequence)
  }

  /**
   * Cancels what a call waits for, and ends the wait.
   *
   * At once, as whoever cancels a call goes on at once: history need not tell of an end that the
   * code brought about, and of what was never started it never would.
   */
  stop(call: Call): void {
    this.pending.delete(call.sequence)
    this.#cancel(call.sequence)
    call.fail(cancellationOf(call))
  }

  /** The code cancelled a call. */
  abandoned(call: Call): void {
    const { sequence, kind } = call
    if (kind === 'timer') this.cancelTimer(sequence)
    else if (!this.pending.delete(sequence)) return
    else if (kind !== 'step') this.#cancel(sequence)
    else if (this.stepsRunning.delete(sequence)) this.stepsDropped.push(sequence)
  }

  /** Gives the command to cancel what another started, unless its end is known already. */
  #cancel(sequence: number): void {
    if (this.replay.history.ended.has(sequence)) return
    const unheard = this.#commands.get(sequence)
    if (unheard !== undefined && unheard.type !== 'cancel') {
      this.#commands.delete(sequence) // nobody has heard of it yet
    } else {
      this.emit({ type: 'cancel', sequence })
    }
  }
}
