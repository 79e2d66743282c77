/**
 * Skipping time: when nothing can run, the clock goes to what is due next.
 *
 * It stands still while code runs, and while nobody waits. While a body awaits something from
 * outside, such as a socket, time goes no faster than on the wall; once nothing has been heard for
 * a while, it is skipped all the same.
 */

import timers from 'node:timers'
import type { Body } from './_bodies'
import type { MemoryEngine } from './_engine'
import { Baseline, mayHear } from './_outside'
import type { Waiting } from './_waiting'
import type { EnvironmentWorker } from './_worker'

// Nothing happens for so many turns of the event loop: a write of the worker takes one or two.
const QUIET = 8
const LONGEST_PAUSE = 10

// Kept, since a test may put fake timers in their places.
const { setImmediate, setTimeout } = timers
const clock = performance.now.bind(performance)

/** The time of one environment. */
export class Skipping {
  readonly #engine: MemoryEngine
  readonly #waiting: Waiting
  readonly #worker: () => EnvironmentWorker | undefined
  readonly #patience: number
  readonly #baseline = new Baseline()
  #silent = new WeakSet<Body>()
  #stirs = 0
  #waited = 0 // how much of what is due next has gone by on the wall, in milliseconds
  #running = false

  constructor(
    engine: MemoryEngine,
    waiting: Waiting,
    worker: () => EnvironmentWorker | undefined,
    patience: number,
  ) {
    this.#engine = engine
    this.#waiting = waiting
    this.#worker = worker
    this.#patience = patience
  }

  /** Something has happened; time goes on if somebody waits. */
  stir(): void {
    this.#stirs += 1
    if (this.#running) return
    this.#running = true
    setImmediate(() => {
      this.#run().finally(() => {
        this.#running = false
      })
    })
  }

  /** A body is about to begin. */
  begins(): void {
    this.#stirs += 1
    if (this.#worker()?.running.size === 0) this.#baseline.lower()
  }

  /** Lets time go on for as long as somebody waits for something. */
  async #run(): Promise<void> {
    let quiet = 0
    while (this.#waiting.isAwaited) {
      const before = this.#stirs
      await new Promise<void>((resolve) => setImmediate(resolve))
      await this.#waiting.look()
      const isCalm = this.#stirs === before && this.#worker()?.isBusy !== true
      quiet = isCalm ? quiet + 1 : 0
      if (quiet < QUIET) continue
      quiet = 0
      await this.#idle()
    }
  }

  /** Skips to what is due next, or waits for what comes from outside. */
  async #idle(): Promise<void> {
    if (this.#mayHear().length > 0 && (await this.#listen())) return
    const due = this.#engine.agenda.next()
    if (due === undefined) await this.#waiting.stuck()
    else if (!this.#waiting.over(due.at)) this.#jump(due.at)
  }

  /** Waits at the pace of the wall; answers whether something came of it. */
  async #listen(): Promise<boolean> {
    const before = this.#stirs
    const began = clock()
    const earlier = this.#waited
    const due = this.#engine.agenda.next()
    for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      await new Promise<void>((resolve) => setTimeout(resolve, pause))
      this.#waited = earlier + clock() - began
      if (this.#stirs !== before || !this.#waiting.isAwaited) return true
      const hearing = this.#mayHear()
      if (hearing.length === 0) return true // what was heard may lead to something
      if (due !== undefined && this.#waited >= (due.at - this.#engine.clock.now) / 1000) break
      if (clock() - began < this.#patience) continue
      for (const body of hearing) this.#silent.add(body)
      break
    }
    return false
  }

  /** Answers the bodies that may hear from outside, and for which nobody has waited in vain. */
  #mayHear(): Body[] {
    const running = [...(this.#worker()?.running ?? [])].filter((body) => !this.#silent.has(body))
    if (running.length === 0) return []
    const { isExceeded } = this.#baseline
    return running.filter((body) => mayHear(body, isExceeded))
  }

  #jump(to: number): void {
    this.#waited = 0
    this.#engine.advanceTo(to)
    this.#waiting.changed()
  }
}
