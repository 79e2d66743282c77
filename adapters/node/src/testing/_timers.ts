/**
 * The timers of Node, as bodies see them: they go by the environment's time.
 *
 * Only code of a body is affected; all other code in the process has Node's own. What asks the
 * clock, such as `Date.now()`, is told the real time.
 */

import { AsyncResource } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers'
import promises from 'node:timers/promises'
import { type Body, bodies, type Forget } from './_bodies'

const INSTALLED = Symbol.for('libworkflows.testing.timers')

type Callback = (...args: unknown[]) => void

/** A timer in the environment's time. It stands where Node's Timeout stands. */
class EnvironmentTimeout {
  readonly #body: Body
  readonly #act: () => void
  readonly #ms: number
  readonly #repeats: boolean
  #forget: Forget = () => {}

  constructor(body: Body, act: Callback, ms: unknown, repeats: boolean, args: unknown[]) {
    this.#body = body
    this.#ms = Math.max(1, Math.trunc(Number(ms)) || 1) // as Node has it
    this.#repeats = repeats
    const bound = AsyncResource.bind(() => act.apply(this, args))
    this.#act = () => queueMicrotask(bound) // what it throws is nobody's here, as in Node
    this.refresh()
  }

  /** Starts it anew. */
  refresh(): this {
    this.#forget()
    this.#forget = this.#body.later(this.#ms, () => {
      if (this.#repeats) this.refresh()
      this.#act()
    })
    return this
  }

  /** Takes it back. */
  close(): this {
    this.#forget()
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Has the timers go by the environment's time in bodies. Once a process is enough. */
export function installTimers(): void {
  for (const owner of new Set<any>([globalThis, timers])) {
    if (owner[INSTALLED]) continue
    Object.defineProperty(owner, INSTALLED, { value: true })
    putTimer(owner, 'setTimeout', false)
    putTimer(owner, 'setInterval', true)
    for (const name of ['clearTimeout', 'clearInterval']) putClear(owner, name)
  }
  if (Reflect.get(promises, INSTALLED) === undefined) {
    Object.defineProperty(promises, INSTALLED, { value: true })
    const original = promises.setTimeout
    put(promises, 'setTimeout', (...args: any) => sleepOr(original as any, args))
  }
  syncBuiltinESMExports()
}

function putTimer(owner: any, name: string, repeats: boolean): void {
  const original = owner[name]
  const replaced = function (this: unknown, act: Callback, ms?: unknown, ...args: unknown[]) {
    const body = bodies.getStore()
    if (body === undefined || typeof act !== 'function') {
      return original.call(this, act, ms, ...args)
    }
    return new EnvironmentTimeout(body, act, ms, repeats, args)
  }
  // What hangs on it stays, such as its promisified form, which asks `timers/promises`.
  Object.defineProperties(replaced, Object.getOwnPropertyDescriptors(original))
  put(owner, name, replaced)
}

function putClear(owner: any, name: string): void {
  const original = owner[name]
  const replaced = function (this: unknown, timer: unknown) {
    if (timer instanceof EnvironmentTimeout) timer.close()
    else original.call(this, timer)
  }
  Object.defineProperties(replaced, Object.getOwnPropertyDescriptors(original))
  put(owner, name, replaced)
}

function put(owner: object, name: string, value: unknown): void {
  const { enumerable = true } = Object.getOwnPropertyDescriptor(owner, name) ?? {}
  Object.defineProperty(owner, name, { value, enumerable, writable: true, configurable: true })
}

/** The promise of a timer: in the environment's time where a body asks for it. */
async function sleepOr(original: (...args: any) => unknown, args: any[]): Promise<unknown> {
  const body = bodies.getStore()
  if (body === undefined) return await original(...args)
  const [ms, value, { signal = undefined } = {}] = args
  try {
    await body.sleep(Math.max(1, Math.trunc(Number(ms)) || 1), signal)
  } catch (cause) {
    throw Object.assign(new Error('The operation was aborted', { cause }), {
      name: 'AbortError',
      code: 'ABORT_ERR',
    })
  }
  return value
}
