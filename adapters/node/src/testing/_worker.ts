/** The worker of an environment: the real one, with bodies that are recorded, and mortal. */

import { HeldWorkflow } from '../_advancing'
import type { Attempt, Bodies } from '../_attempts'
import type { Client } from '../_client'
import type { Undo } from '../_process'
import { Worker, type WorkerOptions } from '../_worker'
import type { Body } from './_bodies'
import type { EnvironmentClient } from './_client'
import { RecordedBodies, type Recording } from './_doubles'

/** A worker on the engine in memory. */
export class EnvironmentWorker extends Worker {
  readonly #client: EnvironmentClient
  readonly #recording: Recording
  #bodies: RecordedBodies | undefined
  #isDead = false
  /** Or time would be skipped by seconds. */
  protected override readonly looksBeyond = false

  constructor(client: EnvironmentClient, recording: Recording, options: WorkerOptions) {
    super(options)
    this.#client = client
    this.#recording = recording
  }

  protected override connect(): Client {
    return this.#client
  }

  protected override makeBodies(freed: () => void): Bodies {
    const keyOf = (attempt: Attempt) => this.#keyOf(attempt)
    this.#bodies = new RecordedBodies(this.#client, freed, this.#recording, keyOf)
    return this.#bodies
  }

  /** Whoever waits keeps the process alive, not the worker. */
  protected override stayAlive(): Undo {
    return () => {}
  }

  protected override later(delay: number, act: () => void): Undo {
    return this.#recording.later(delay, 'a pause of the worker', () => {
      if (!this.#isDead) act()
    })
  }

  /** Nothing: there is no other worker, and what stands in may come at any time. */
  protected override stillLacking(): never[] {
    return []
  }

  /** Answers what tells the call of an attempt from others: the same after a crash. */
  #keyOf(attempt: Attempt): string {
    const { id, run } = attempt.claimed
    const held = this.held.get(id)
    if (held instanceof HeldWorkflow) {
      for (const [sequence, step] of held.steps.entries()) {
        if (step === attempt) return `${id} ${run} ${sequence}`
      }
    }
    return `${id} ${run}`
  }

  /** Whether something will come of what it holds by itself, without any time going by. */
  get isBusy(): boolean {
    return [...this.held.values()].some((held) => held instanceof HeldWorkflow && held.isBusy)
  }

  /** The bodies that run. */
  get running(): ReadonlySet<Body> {
    return this.#bodies?.running ?? new Set()
  }

  /** Ends the worker: what runs is told to stop, what is suspended is forgotten. */
  async end(): Promise<void> {
    this.stop()
    this.stop() // it does not wait for what runs
    await this.close()
    this.#die()
  }

  /** Ends the worker as kill -9 would: it neither writes nor runs anything any more. */
  kill(): void {
    this.#client.wire.isCut = true
    this.#die()
    this.outbox.close()
    for (const held of this.held.values()) {
      held.lost = true
      if (!(held instanceof HeldWorkflow)) continue
      held.replay?.discard()
      held.replay = undefined
    }
    this.forget()
    this.stop()
    this.stop()
    void this.close() // there is nothing left to write: it only takes its loops down
  }

  #die(): void {
    this.#isDead = true
    this.#bodies?.kill()
  }
}
