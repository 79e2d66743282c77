/** Signals: buffered from the start, and matched to waits in order. */

import { Call } from './_calls'
import type { Scope } from './_cancelling'
import { SignalTimeout } from './_errors'
import { adapt } from './_payload'
import type { Replay } from './_replay'

interface Kept {
  readonly position: number
  readonly payload: unknown
}

const MAX_LABEL_BYTES = 255

/** The signals of one workflow that nobody has taken yet, and its open waits. */
export class Signals {
  readonly #replay: Replay
  #buffered: Map<string, Kept[]> | undefined
  // By name, in the order of the calls; a wait in the middle may be given up.
  #waiting: Map<string, Set<Call>> | undefined

  constructor(replay: Replay) {
    this.#replay = replay
  }

  /** Whether a wait is open. */
  get awaited(): boolean {
    return this.#waiting !== undefined && this.#waiting.size > 0
  }

  /** For which signals waits are open. */
  get names(): string[] {
    return [...(this.#waiting?.keys() ?? [])]
  }

  /** The positions of the signals that no wait has taken: what the next run begins with. */
  get untaken(): number[] {
    const kept = [...(this.#buffered?.values() ?? [])].flat()
    return kept.map(({ position }) => position).sort((one, other) => one - other)
  }

  /** Takes a signal to the first wait for its name, or keeps it; answers whether one took it. */
  received(name: string, payload: unknown, position: number): boolean {
    const [first] = this.#waiting?.get(name) ?? []
    if (first === undefined) {
      this.keep(name, payload, position)
      return false
    }
    this.#forget(first)
    this.#deliver(first, payload)
    return true
  }

  /** Keeps a signal that nobody takes now. */
  keep(name: string, payload: unknown, position: number): void {
    this.#buffered ??= new Map()
    const kept = this.#buffered.get(name)
    if (kept === undefined) this.#buffered.set(name, [{ position, payload }])
    else kept.push({ position, payload })
  }

  /** Answers the wait for the next signal of a name; those that came early wait for it. */
  wait(scope: Scope, name: string, delayMs: number | undefined): Call {
    const call = new Call(scope, 'signal', name)
    const early = this.#buffered?.get(name)?.shift()
    if (early !== undefined) {
      this.#deliver(call, early.payload)
      return call
    }
    this.#waiting ??= new Map()
    const waiting = this.#waiting.get(name)
    if (waiting === undefined) this.#waiting.set(name, new Set([call]))
    else waiting.add(call)
    if (delayMs !== undefined) {
      const late = () => this.#late(call, delayMs)
      call.sequence = this.#replay.asked.timer(delayMs, labelOf(name), late)
    }
    return call
  }

  /** The code cancelled a wait: it takes no signal, and its timer is not needed. */
  abandoned(call: Call): void {
    this.#forget(call)
    this.#replay.asked.cancelTimer(call.sequence)
  }

  /** Forgets all waits of a workflow that is being discarded. */
  drop(): void {
    this.#waiting = undefined
    this.#buffered = undefined
  }

  #forget(call: Call): void {
    const waiting = this.#waiting?.get(call.name)
    waiting?.delete(call)
    if (waiting?.size === 0) this.#waiting?.delete(call.name)
  }

  #deliver(call: Call, payload: unknown): void {
    try {
      call.complete(adapt(payload ?? null, 'payload'))
    } catch (error) {
      call.fail(error)
    }
    this.#replay.asked.cancelTimer(call.sequence)
  }

  #late(call: Call, delayMs: number): void {
    this.#forget(call)
    const message = `no signal '${call.name}' came within ${delayMs / 1000} s`
    call.fail(new SignalTimeout(message, call.name))
  }
}

/** Names the timer of a wait, cut where a character ends. */
function labelOf(name: string): string {
  const bytes = Buffer.from(`signal ${name}`).subarray(0, MAX_LABEL_BYTES)
  return new TextDecoder().decode(bytes, { stream: true })
}
