/** What a worker asks of its process: to stay alive, to hear signals, to bear what it runs. */

import { clearInterval, setInterval } from 'node:timers'
import { called } from './_failures'
import { log } from './_log'
import { storage } from './_loop'
import { currentTry } from './_tries'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const
const LONG = 2 ** 30

/** Undoes what was set up. */
export type Undo = () => void

/** Keeps the process from ending by itself while a worker has nothing to do but to wait. */
export function stayAlive(): Undo {
  const timer = setInterval(() => {}, LONG)
  return () => clearInterval(timer)
}

/** Has SIGTERM and SIGINT call something, instead of ending the process. */
export function onSignals(act: () => void): Undo {
  for (const signal of SIGNALS) process.on(signal, act)
  return () => {
    for (const signal of SIGNALS) process.off(signal, act)
  }
}

let workers = 0

/**
 * Has what workflow code rejects and nobody looks at logged, instead of ending the process; what
 * the body of an attempt rejects so fails the attempt, if that is not over.
 *
 * Every other unhandled rejection ends as it would without this.
 */
export function bearRejections(): Undo {
  if (workers++ === 0) process.on('unhandledRejection', onRejection)
  let done = false
  return () => {
    if (done) return
    done = true
    if (--workers === 0) process.off('unhandledRejection', onRejection)
  }
}

function onRejection(reason: unknown): void {
  // Node calls the listener in the context in which the promise was made.
  const replay = storage.getStore()?.replay
  const trial = currentTry()
  if (replay !== undefined) unseen(called(replay.claimed), reason)
  else if (trial?.isAwaited) {
    unseen(trial.who, reason, '; the attempt fails with it')
    trial.attempt.strayed(reason)
  } else if (trial !== undefined) unseen(`${trial.who}, which is over,`, reason)
  else if (process.listenerCount('unhandledRejection') === 1) asWithoutUs(reason)
  // otherwise it is the affair of those who listen too
}

function unseen(who: string, reason: unknown, consequence = ''): void {
  const message = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason)
  log.warn(
    `a promise in the code of ${who} was rejected and nobody looked at it: ${message}${consequence}`,
  )
}

/** Does what Node does where no listener is. */
function asWithoutUs(reason: unknown): void {
  const mode = modeOf([...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)])
  if (mode === 'none' || mode === 'warn') return // Node warns by itself then
  if (mode === 'warn-with-error-code') {
    process.emitWarning(reason instanceof Error ? reason : String(reason))
    process.exitCode = 1
    return
  }
  throw reason instanceof Error ? reason : notAnError(reason)
}

function modeOf(options: readonly string[]): string {
  const flag = '--unhandled-rejections'
  const at = options.findIndex((option) => option === flag || option.startsWith(`${flag}=`))
  const given = options[at]?.split('=')[1] ?? options[at + 1]
  return at < 0 || given === undefined ? 'throw' : given
}

function notAnError(reason: unknown): Error {
  return Object.assign(
    new Error(
      'This error originated either by throwing inside of an async function without a catch block,' +
        ` or by rejecting a promise which was not handled with .catch(): ${String(reason)}`,
    ),
    { code: 'ERR_UNHANDLED_REJECTION' },
  )
}
