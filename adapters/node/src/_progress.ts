/** Progress that bodies report: the latest of each execution, and not too often. */

import type { Held } from './_executions'
import { log } from './_log'
import { Operation, type Progress } from './_operations'
import type { Undo } from './_process'
import { settled, within } from './_waits'

const PAUSE = 50

/** What the sending of progress needs of its worker. */
export interface Sender {
  call(operation: Operation, request: object): Promise<unknown>
  later(delay: number, act: () => void): Undo
  workerId(): string | undefined
}

/** What executions have reported and what is on its way of it. */
export class Reports {
  readonly #sender: Sender
  readonly #beats = new Set<Promise<void>>()
  #waiting = new Map<string, Progress>()

  constructor(sender: Sender) {
    this.#sender = sender
  }

  /** Takes in progress, to be sent soon. */
  add(held: Held<any>, details: unknown): void {
    if (this.#waiting.size === 0) this.#sender.later(PAUSE, () => this.#send())
    const progress = details as Progress['progress']
    this.#waiting.set(held.id, { id: held.id, lease: held.lease, progress })
  }

  /** Sends an attempt's last progress, and waits until it is recorded. */
  async record(held: Held<any>, details: unknown): Promise<void> {
    await settled(this.#beats) // none may overtake it
    this.add(held, details)
    this.#send()
    await settled(this.#beats)
  }

  /** Sends what is left, and waits so many milliseconds for it at most. */
  async flushed(patience: number): Promise<void> {
    this.#send()
    await within(patience, settled(this.#beats))
  }

  #send(): void {
    if (this.#waiting.size === 0) return
    const items = [...this.#waiting.values()]
    this.#waiting = new Map()
    const beat = this.#beat(items)
    this.#beats.add(beat)
    void beat.finally(() => this.#beats.delete(beat))
  }

  async #beat(items: readonly Progress[]): Promise<void> {
    try {
      const worker_id = this.#sender.workerId()
      await this.#sender.call(Operation.HEARTBEAT, { worker_id, items })
    } catch (error) {
      log.warn(`progress was not recorded: ${error instanceof Error ? error.message : error}`)
    }
  }
}
