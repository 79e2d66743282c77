/**
 * Where workflow code runs: its context, and how to wait until it waits.
 *
 * Promises of JavaScript run in an order that the language fixes, so there is no loop of our own
 * here. What has to be known is whose code is running, and when it has come to rest.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { dirname, sep } from 'node:path'
import { performance } from 'node:perf_hooks'
import timers from 'node:timers'
import type { Scope } from './_cancelling'
import { Evicted, NotDurableError } from './_errors'
import type { Replay } from './_replay'

/** The scope whose code is running; undefined outside workflows. */
export const storage = new AsyncLocalStorage<Scope | undefined>()

// How long workflow code may keep the event loop to itself, in milliseconds.
const SLICE = 5

// Kept, since the guards put others in their places.
const { setImmediate } = timers
const clock = performance.now.bind(performance)
const nextTick = process.nextTick.bind(process)

/** Calls a function that is no workflow's, whoever calls it. */
export function outside<T>(fn: () => T): T {
  return storage.getStore() === undefined ? fn() : storage.run(undefined, fn)
}

/**
 * Answers the workflow whose code is running, or undefined outside workflows.
 *
 * @throws Evicted - the code runs although its workflow was discarded.
 * @throws NotDurableError - the code runs because something ended that no history tells of.
 */
export function active(): Replay | undefined {
  return current()?.replay
}

/** Answers the scope whose code is running, as `active` does. */
export function current(): Scope | undefined {
  const scope = storage.getStore()
  if (scope === undefined) return undefined
  const { replay } = scope
  if (replay.discarded) {
    replay.onStray()
    throw evicted()
  }
  if (!replay.stepping) throw replay.strayed()
  return scope
}

/** Whether the code that runs is a workflow's, and nothing else lets it run. Never throws. */
export function isInside(): boolean {
  return storage.getStore()?.replay.stepping === true
}

/**
 * Refuses a call in workflow code.
 *
 * @throws NotDurableError - this is workflow code.
 */
export function refuseInside(what: string, instead: string): void {
  if (active() !== undefined) {
    throw new NotDurableError(`${what} is not durable inside a workflow; use ${instead}`)
  }
}

let draining: Promise<void> | undefined
// Since what is drained now was last seen to.
let isAsked = false

/** Resolves when all code that could run has run, and waits. */
export function drained(): Promise<void> {
  isAsked = true
  // One for all workflows that are told something in the same turn.
  draining ??= new Promise((resolve) => afterMicrotasks(resolve))
  return draining
}

function afterMicrotasks(resolve: () => void): void {
  // The tick comes when no microtask is left, and it must be asked for by one of them.
  queueMicrotask(() => {
    isAsked = false
    nextTick(() => {
      if (isAsked) return afterMicrotasks(resolve) // perhaps by a tick: its microtasks wait
      draining = undefined
      resolve()
    })
  })
}

/** Lets the event loop have its turn when workflow code has kept it long enough. */
export class Slices {
  /** For how long it was kept at most, in milliseconds. */
  longest = 0
  #since = clock()

  /** Whether it is time. */
  get over(): boolean {
    const kept = clock() - this.#since
    if (kept > this.longest) this.longest = kept
    return kept > SLICE
  }

  /** Resolves when the event loop has had its turn. */
  async turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#since = clock()
  }
}

/** What a promise is that the code of an ended workflow gets: one that never settles. */
export function never(): Promise<never> {
  return new Promise(() => {})
}

function evicted(): Evicted {
  return new Evicted(
    'this workflow is being discarded from memory; it goes on elsewhere, from its history',
  )
}

const OURS = __dirname.endsWith(`${sep}testing`) ? dirname(__dirname) : __dirname
const FRAME = /^\s*at (?:.*\()?(.+?:\d+):\d+\)?$/

/** Where workflow code stands, kept until somebody asks. */
export class Place {
  readonly stack?: string

  constructor() {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 16
    Error.captureStackTrace(this, Place)
    Error.stackTraceLimit = limit
  }

  /** Answers it as " at FILE:LINE", or nothing. */
  toString(): string {
    for (const line of (this.stack ?? '').split('\n')) {
      const at = FRAME.exec(line)?.[1]?.replace(/^file:\/\//, '')
      if (at !== undefined && !at.startsWith(OURS) && !at.startsWith('node:')) return ` at ${at}`
    }
    return ''
  }
}

/** Answers where the workflow's code stands that is running, as " at FILE:LINE", or nothing. */
export function placeOfCall(): string {
  return new Place().toString()
}

/** Answers the error of a root that waits for nothing durable; `last` is its last call. */
export function notDurable(last: string): NotDurableError {
  const since = last && `, after its call${last},`
  return new NotDurableError(
    `the workflow awaits something${since} that nothing durable will ever end: no activity, step, ` +
      'child, timer or signal is waited for. It may be a promise that another workflow made, or ' +
      'that was made outside: share values between workflows, and no promises. Await what the ' +
      'SDK gives in this workflow, and let activities do the rest',
  )
}

/** Answers the error of code that goes on because of what no history tells of. */
export function strayed(): NotDurableError {
  return new NotDurableError(
    'the workflow went on when something ended that is not durable, such as a file that was ' +
      "read, a timer of Node, another library's promise, or one that another workflow made; its " +
      'result is not recorded. Let an activity or a step wait for it',
  )
}
