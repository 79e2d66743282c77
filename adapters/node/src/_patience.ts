/** What passes by itself is waited out. */

import { Internal, WorkflowsError } from './_errors'
import { log } from './_log'
import { Operation } from './_operations'
import type { Undo } from './_process'

const FIRST_PAUSE = 100
const LONGEST_PAUSE = 5000

/** Has something happen after a time, in milliseconds. */
type Later = (delay: number, act: () => void) => Undo

/** Until when to be patient, and by which clock. */
export interface Patience {
  readonly signal: AbortSignal
  readonly later: Later
}

/**
 * Performs an operation again and again, until it is not refused for what may pass.
 *
 * @throws Its error that does not pass; once the signal is aborted the last one that may pass, or
 *   the signal's reason if there was none.
 */
export async function patiently<T>(
  operation: Operation,
  perform: () => Promise<T>,
  { signal, later }: Patience,
): Promise<T> {
  let last: unknown
  for (let delay = FIRST_PAUSE; ; delay = Math.min(2 * delay, LONGEST_PAUSE)) {
    if (signal.aborted) throw last ?? signal.reason
    try {
      return await perform()
    } catch (error) {
      if (signal.aborted) continue
      // What the library itself failed at may work the next time; a worker goes on.
      const passes =
        error instanceof Internal || (error instanceof WorkflowsError && error.retryable)
      if (!passes) throw error
      last = error
      log.warn(`${nameOf(operation)} is tried again in ${delay / 1000} s: ${error.message}`)
    }
    await paused({ signal, later }, delay)
  }
}

/** Waits for a time, in milliseconds, or until the signal is aborted. */
export async function paused({ signal, later }: Patience, delay = FIRST_PAUSE): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const over = () => {
      signal.removeEventListener('abort', over) // or an outage would pile them up
      forget()
      resolve()
    }
    const forget = later(delay, over)
    signal.addEventListener('abort', over)
  })
}

function nameOf(operation: Operation): string {
  const found = Object.entries(Operation).find(([, number]) => number === operation)
  return (found?.[0] ?? String(operation)).toLowerCase()
}
