/** Slots that bodies keep which never return: the worker would stand still without a word. */

import { clearInterval, setInterval } from 'node:timers'
import { log } from './_log'

const NAMED = 5 // how many bodies a line names
const PAUSE = 60_000

/** Warns of bodies that take up slots although nobody waits for them, once a minute at most. */
export class Crowd {
  #told = Number.NEGATIVE_INFINITY

  /** @param pause Between two warnings, in milliseconds. */
  constructor(private readonly pause = PAUSE) {}

  /** Warns of bodies, unless that was done a moment ago, or there are none. */
  tell(names: readonly string[]): void {
    const now = Number(process.hrtime.bigint() / 1_000_000n)
    if (names.length === 0 || now - this.#told < this.pause) return
    this.#told = now
    const rest = names.length > NAMED ? ` and ${names.length - NAMED} more` : ''
    log.warn(
      `no slot is free, and ${names.length} of them taken by bodies that go on although nobody ` +
        `waits for them any more: ${names.slice(0, NAMED).join(', ')}${rest}. They cannot be ` +
        'interrupted: have them look at cancelled() or pass on abortSignal(); ' +
        'until they return, only a restart of this process frees their slots',
    )
  }

  /** Looks again from time to time, since a worker without a free slot has nothing to do. */
  watch(look: () => readonly string[]): () => void {
    const timer = setInterval(() => this.tell(look()), this.pause)
    timer.unref()
    return () => clearInterval(timer)
  }
}
