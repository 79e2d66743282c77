/** Waits of the worker's own code. */

import { after } from './_attempts'

/** Wakes who waits. A ring that nobody hears is kept for the next wait. */
export class Bell {
  #rung = false
  #wake: (() => void)[] = []

  /** Wakes all who wait, or the next one to wait. */
  ring(): void {
    const waiting = this.#wake
    this.#wake = []
    this.#rung = waiting.length === 0
    for (const wake of waiting) wake()
  }

  /** Waits for the next ring. */
  wait(): Promise<void> {
    if (this.#rung) {
      this.#rung = false
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#wake.push(resolve))
  }
}

/** Waits until all have settled, however they end. */
export async function settled(promises: Iterable<Promise<unknown>>): Promise<void> {
  await Promise.allSettled([...promises])
}

/** Waits for a promise, or for a time, in milliseconds. */
export async function within(timeout: number, promise: Promise<unknown>): Promise<void> {
  let forget = () => {}
  const late = new Promise<void>((resolve) => {
    forget = after(Math.max(0, timeout), resolve)
  })
  try {
    await Promise.race([promise, late])
  } finally {
    forget()
  }
}
