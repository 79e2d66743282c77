/** What workflow code must not ask of the globals, and what it is told to use. */

import nodeCrypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { performance } from 'node:perf_hooks'
import timers from 'node:timers'
import promises from 'node:timers/promises'
import { NotDurableError } from './_errors'
import { isInside } from './_loop'

const CLOCK = 'the clock is not recorded; use now() of libworkflows'
const CHANCE = 'chance is not recorded; use random() or uuid4() of libworkflows'
const TIMER = 'a timer of Node would not survive a restart; use sleep() of libworkflows'
const LIMIT = 'a timer of Node would not survive a restart; use timeout() of libworkflows'
const NETWORK = 'network access is not recorded; use an activity'
const EXIT = 'it would end the worker with all that it holds; throw an error'

type AnyFunction = (...args: never) => unknown

interface Guard {
  readonly owner: object
  readonly name: string
  readonly called: string
  readonly hint: string
  /** Whether it is durable as soon as it is given something, such as a date to format. */
  readonly unlessGiven?: boolean
}

/** The guards of several functions of one owner, which is called by its name. */
function all(owner: object, called: string, names: readonly string[], hint: string): Guard[] {
  return names.map((name) => ({ owner, name, called: `${called}${name}()`, hint }))
}

function guards(): Guard[] {
  const { crypto } = globalThis
  const setting = ['setTimeout', 'setInterval', 'setImmediate']
  // getRandomValues of node:crypto cannot be replaced, and calls the global one.
  const drawing = ['randomUUID', 'randomBytes', 'randomInt', 'randomFill', 'randomFillSync']
  return [
    ...all(Date, 'Date.', ['now'], CLOCK),
    ...all(performance, 'performance.', ['now'], CLOCK),
    ...all(process.hrtime, 'process.hrtime.', ['bigint'], CLOCK), // before what it hangs on
    ...all(process, 'process.', ['hrtime', 'uptime'], CLOCK),
    ...all(Math, 'Math.', ['random'], CHANCE),
    ...all(crypto, 'crypto.', ['randomUUID', 'getRandomValues'], CHANCE),
    ...all(nodeCrypto, 'crypto.', drawing, CHANCE),
    ...all(globalThis, '', setting, TIMER),
    ...all(timers, '', setting, TIMER),
    ...all(promises, '', setting, TIMER),
    ...all(promises.scheduler, 'scheduler.', ['wait', 'yield'], TIMER),
    ...all(AbortSignal, 'AbortSignal.', ['timeout'], LIMIT),
    ...all(globalThis, '', ['fetch'], NETWORK),
    ...all(process, 'process.', ['exit'], EXIT),
    {
      owner: Intl.DateTimeFormat.prototype,
      name: 'formatToParts',
      called: 'formatToParts()',
      hint: `without a date it asks the clock: ${CLOCK}`,
      unlessGiven: true,
    },
  ]
}

let installed = false

/**
 * Has what is not durable throw in workflow code, and work as ever elsewhere.
 *
 * Once a process. A worker does it when it starts.
 */
export function installGuards(): void {
  if (installed) return
  installed = true
  for (const guard of guards()) put(guard)
  guardDate()
  guardFormat()
  // What ES modules import by name, as in `import { randomUUID } from 'node:crypto'`, is a copy.
  syncBuiltinESMExports()
}

// One for each original, so that what is the same by two names stays the same.
const known = new Map<unknown, unknown>()

function put(guard: Guard): void {
  const { owner, name } = guard
  const original: unknown = Reflect.get(owner, name)
  if (typeof original !== 'function') return
  if (!known.has(original)) known.set(original, guarded(original as AnyFunction, guard))
  Object.defineProperty(owner, name, {
    value: known.get(original),
    writable: true,
    configurable: true,
    enumerable: Object.prototype.propertyIsEnumerable.call(owner, name),
  })
}

function guarded(original: AnyFunction, { called, hint, unlessGiven = false }: Guard): unknown {
  const replaced = function (this: unknown, ...args: unknown[]): unknown {
    if (!(unlessGiven && args[0] !== undefined) && isInside()) refuse(called, hint)
    return Reflect.apply(original, this, args)
  }
  // Its name, and what hangs on it, such as the promisified form of setTimeout.
  Object.defineProperties(replaced, Object.getOwnPropertyDescriptors(original))
  return replaced
}

/** `new Date()` and `Date()` ask the clock; with arguments they do not. */
function guardDate(): void {
  const Original = Date
  const guarded = function (...args: number[]): unknown {
    const target = new.target
    if ((target === undefined || args.length === 0) && isInside()) {
      refuse(target === undefined ? 'Date()' : 'new Date()', CLOCK)
    }
    if (target === undefined) return Original()
    // A proxy would do the same, and take four times as long.
    if (target !== guarded) return Reflect.construct(Original, args, target)
    return args.length === 0 ? new Original() : new Original(...(args as [number]))
  }
  Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(Original))
  Original.prototype.constructor = guarded
  globalThis.Date = guarded as unknown as DateConstructor
}

/** `format` is a getter, which answers one function for each format. */
function guardFormat(): void {
  const { prototype } = Intl.DateTimeFormat
  const original = Object.getOwnPropertyDescriptor(prototype, 'format')?.get
  if (original === undefined) return
  const guard = { called: 'format()', hint: `without a date it asks the clock: ${CLOCK}` }
  const formats = new WeakMap<AnyFunction, unknown>()
  const get = function (this: unknown): unknown {
    const format = Reflect.apply(original, this, []) as AnyFunction
    if (!formats.has(format)) {
      const parts = { owner: prototype, name: 'format', unlessGiven: true, ...guard }
      formats.set(format, guarded(format, parts))
    }
    return formats.get(format)
  }
  Object.defineProperty(prototype, 'format', { get, configurable: true, enumerable: false })
}

function refuse(called: string, hint: string): never {
  throw new NotDurableError(`${called} is not durable inside a workflow: ${hint}`)
}
