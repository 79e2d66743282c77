/** Bodies while they run: their own time, and what they wait for. */

import { AsyncLocalStorage } from 'node:async_hooks'
import timers from 'node:timers'

/** Takes back what was to happen later. */
export type Forget = () => void

/** Has something happen after so many milliseconds of an environment's time. */
export type Later = (ms: number, what: string, act: () => void) => Forget

/** Whether a worker lives: once it is dead, nothing that its bodies wait for comes any more. */
export interface Life {
  isKilled: boolean
}

/** A body while it runs. */
export class Body {
  /** How many of its waits end by themselves: it sleeps, or waits for an execution. */
  sleeps = 0
  /** What it has asked the process for and not heard of yet, such as a file. */
  readonly requests = new Set<number>()
  /** Whether it has begun what may ask again and again, such as a compression. */
  streams = false

  constructor(
    readonly name: string,
    private readonly at: Later,
    private readonly life: Life,
  ) {}

  /** Whether its worker is dead. */
  get isKilled(): boolean {
    return this.life.isKilled
  }

  /** Has something happen after a time, in milliseconds, unless the body is dead by then. */
  later(ms: number, act: () => void): Forget {
    if (this.isKilled) return () => {}
    return this.at(ms, `a timer in the body of ${this.name}`, () => {
      if (!this.isKilled) act()
    })
  }

  /** Waits for a time, in milliseconds; an abort ends the wait with its reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.waiting(
      new Promise((resolve, reject) => {
        const abort = () => {
          forget()
          reject(signal?.reason)
        }
        const forget = this.later(ms, () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        })
        if (signal?.aborted) abort()
        else signal?.addEventListener('abort', abort, { once: true })
      }),
    )
  }

  /** Waits for what the environment will bring about. */
  async waiting<T>(promise: Promise<T>): Promise<T> {
    this.sleeps += 1
    try {
      return await promise
    } finally {
      this.sleeps -= 1
    }
  }
}

// One for all copies of this module: test runners load it anew for each file, while the modules
// of Node that it changes stay the same.
const KEY = Symbol.for('libworkflows.testing.body')
const shared = timers as { [KEY]?: AsyncLocalStorage<Body | undefined> }

/** The body whose code is running. */
export const bodies = shared[KEY] ?? new AsyncLocalStorage<Body | undefined>()
shared[KEY] = bodies
