/** What workflow code must not ask of the globals, and what it is told to use. */

import nodeCrypto from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { NotDurableError } from './_errors'
import { isInside } from './_loop'

const CLOCK = 'the clock is not recorded; use now() of libworkflows'
const CHANCE = 'chance is not recorded; use random() or uuid4() of libworkflows'
const TIMER = 'a timer of Node would not survive a restart; use sleep() of libworkflows'

interface Guard {
  readonly owner: object
  readonly name: string
  readonly called: string
  readonly hint: string
}

function guards(): Guard[] {
  const { crypto } = globalThis
  return [
    { owner: Date, name: 'now', called: 'Date.now()', hint: CLOCK },
    { owner: performance, name: 'now', called: 'performance.now()', hint: CLOCK },
    { owner: Math, name: 'random', called: 'Math.random()', hint: CHANCE },
    { owner: crypto, name: 'randomUUID', called: 'crypto.randomUUID()', hint: CHANCE },
    { owner: crypto, name: 'getRandomValues', called: 'crypto.getRandomValues()', hint: CHANCE },
    { owner: nodeCrypto, name: 'randomUUID', called: 'crypto.randomUUID()', hint: CHANCE },
    { owner: globalThis, name: 'setTimeout', called: 'setTimeout()', hint: TIMER },
    { owner: globalThis, name: 'setInterval', called: 'setInterval()', hint: TIMER },
    { owner: globalThis, name: 'setImmediate', called: 'setImmediate()', hint: TIMER },
    {
      owner: globalThis,
      name: 'fetch',
      called: 'fetch()',
      hint: 'network access is not recorded; use an activity',
    },
    {
      owner: process,
      name: 'exit',
      called: 'process.exit()',
      hint: 'it would end the worker with all that it holds; throw an error',
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
}

function put({ owner, name, called, hint }: Guard): void {
  const original: unknown = Reflect.get(owner, name)
  if (typeof original !== 'function') return
  const guarded = function (this: unknown, ...args: unknown[]): unknown {
    if (isInside()) refuse(called, hint)
    return Reflect.apply(original, this, args)
  }
  // Its name, and what hangs on it, such as the promisified form of setTimeout.
  Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(original))
  Object.defineProperty(owner, name, {
    value: guarded,
    writable: true,
    configurable: true,
    enumerable: Object.prototype.propertyIsEnumerable.call(owner, name),
  })
}

/** `new Date()` and `Date()` ask the clock; with arguments they do not. */
function guardDate(): void {
  const guarded = new Proxy(Date, {
    construct(original, args, target) {
      if (args.length === 0 && isInside()) refuse('new Date()', CLOCK)
      return Reflect.construct(original, args, target)
    },
    apply(original, _, args) {
      if (isInside()) refuse('Date()', CLOCK)
      return Reflect.apply(original, undefined, args)
    },
  })
  Date.prototype.constructor = guarded
  globalThis.Date = guarded
}

function refuse(called: string, hint: string): never {
  throw new NotDurableError(`${called} is not durable inside a workflow: ${hint}`)
}
