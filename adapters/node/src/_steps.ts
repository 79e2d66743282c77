/** Steps: bodies that run inside their workflow's own worker, with their retries. */

import type { Attempt, Bodies, Ended } from './_attempts'
import { wireError } from './_attempts'
import type { StepCall } from './_calls'
import { called, tell } from './_failures'
import type { RetryPolicy } from './_operations'
import { retryPolicy } from './_options'
import { plain } from './_payload'
import { milliseconds } from './_settings'

const RETRIES = 3

/** A step has no progress of its own: its workflow's setState has. */
export function unheard(_details: unknown): void {}

/** Runs a step with its retries, and answers its plain result, or its error for the wire. */
export async function runStep(bodies: Bodies, step: StepCall, attempt: Attempt): Promise<Ended> {
  const { function: fn, args } = step
  const { plain: body, optionsSet: options } = fn
  const limit = options.timeout == null ? undefined : milliseconds(options.timeout)
  for (let number = 1; ; number++) {
    const call = () => body(...args)
    const [ok, value] = plainly(await bodies.run(call, attempt, limit, { fn, args }))
    if (ok || attempt.isGivenUp) return [ok, value]
    const policy = retryPolicy('step', options)
    const wire = wireError(value, policy)
    wire.details = { ...wire.details, attempts: number }
    tell(`step ${step.call.name} of ${called(attempt.claimed)}`, wire, number)
    if (wire.non_retryable || number > (policy.retries ?? RETRIES)) return [false, wire]
    await pausing(bodies, attempt, pauseOf(policy, number, bodies.spread()))
    if (attempt.isGivenUp) return [false, wire]
    attempt.again()
  }
}

/** What is not JSON is no result. */
function plainly(ended: Ended): Ended {
  const [ok, value] = ended
  if (!ok) return ended
  try {
    const made = plain(value, 'result')
    return made === value ? ended : [ok, made]
  } catch (error) {
    return [false, error]
  }
}

/** Waits before the next try, unless nobody wants one any more. */
function pausing(bodies: Bodies, attempt: Attempt, pause: number): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      forgetPause()
      attempt.offStop(over)
      resolve()
    }
    const forgetPause = bodies.later(pause, over)
    attempt.onStop(over)
  })
}

/** The pause before the next try, in milliseconds. */
export function pauseOf(policy: RetryPolicy, number: number, spread: number): number {
  const longest = policy.max_ms ?? 60_000
  const first = policy.initial_ms ?? 1000
  const pause = Math.min(longest, first * (policy.factor ?? 2) ** Math.min(number - 1, 40))
  return pause * (1 + (policy.jitter ?? 0.1) * spread)
}
