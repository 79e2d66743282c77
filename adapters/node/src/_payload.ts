/**
 * JavaScript values as JSON and back, never changed in silence.
 *
 * What crosses the wire is plain JSON: null, booleans, finite numbers, text (lone surrogates
 * and NUL too), arrays and plain objects. A Date goes as its ISO text, and comes back as text;
 * whatever else has a `toJSON` method goes as what that answers. undefined goes as
 * JSON.stringify has it: null in arrays, left out of objects. NaN, infinities, bigints, symbols,
 * functions, Map, Set, bytes and instances of classes are refused with a PayloadError that names
 * the path.
 */

import { types } from 'node:util'
import { PayloadError } from './_errors'
import { unsafeNumbers } from './_numbers'

/** How deep a payload may nest. */
export const MAX_DEPTH = 128

/** Any plain JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

// --- values to JSON -----------------------------------------------------------------

/**
 * Answers the plain JSON that stands for a value: a copy, which later changes do not reach.
 *
 * @param value What is to be sent; undefined stands for null.
 * @param path How to call the value in an error.
 * @throws {PayloadError} It, or something in it, is not JSON.
 *
 * @example
 * ```ts
 * plain({ at: new Date(0) }) // { at: '1970-01-01T00:00:00.000Z' }
 * plain({ a: [Number.NaN] }, 'result') // PayloadError: result.a[0]: NaN is not JSON
 * ```
 */
export function plain(value: unknown, path = '$'): Json {
  if (isHarmless(value)) return value
  if (value === undefined) return null
  // Without a walk, which takes three objects.
  if (typeof value === 'number' && Number.isFinite(value)) return value
  return new Walk(path).copy(value) ?? null
}

/**
 * Answers the arguments of a call as plain JSON.
 *
 * Those that are undefined at the end are left out: JavaScript makes no difference. Before others
 * undefined goes as null, as it does in arrays.
 *
 * @throws {PayloadError} One of them is not JSON; the path is such as `args[0].price`.
 */
export function plainArguments(args: readonly unknown[]): Json[] {
  let count = args.length
  while (count > 0 && args[count - 1] === undefined) count--
  const copied: Json[] = []
  for (let index = 0; index < count; index++) {
    copied.push(plain(args[index], `args[${index}]`))
  }
  return copied
}

/** What is JSON at first sight, as most arguments are. */
function isHarmless(value: unknown): value is string | boolean | null {
  return typeof value === 'string' || typeof value === 'boolean' || value === null
}

type ToJson = (key: string) => unknown

/** One pass over a value, which knows how it got to where it is. */
class Walk {
  readonly #root: string
  readonly #keys: (string | number)[] = []
  readonly #above: object[] = []

  constructor(root: string) {
    this.#root = root
  }

  /** undefined stays undefined: whoever holds it knows whether it is null or left out. */
  copy(value: unknown): Json | undefined {
    if (isHarmless(value) || value === undefined) return value
    if (typeof value === 'number') {
      return Number.isFinite(value) ? value : this.#refuse(`${value} is not JSON`)
    }
    if (typeof value !== 'object') return this.#refuse(scalarReason(value))
    this.#mayGoInto(value)
    this.#above.push(value)
    const copied = this.#container(value)
    this.#above.pop()
    return copied
  }

  #mayGoInto(value: object): void {
    if (this.#above.includes(value)) this.#refuse('it contains itself')
    if (this.#above.length >= MAX_DEPTH) this.#refuse(`it nests deeper than ${MAX_DEPTH} levels`)
  }

  #container(value: object): Json | undefined {
    if (Array.isArray(value)) return this.#items(value)
    const literal = isPlain(value)
    const reason = literal ? undefined : objectReason(value)
    if (reason !== undefined) return this.#refuse(reason)
    const toJson = this.#read(value, 'toJSON')
    if (typeof toJson === 'function') return this.#lowered(value, toJson as ToJson)
    return literal ? this.#members(value) : this.#refuse(instanceReason(value))
  }

  #items(value: readonly unknown[]): Json[] {
    const items: Json[] = []
    for (let index = 0; index < value.length; index++) {
      this.#keys.push(index)
      items.push(this.copy(this.#read(value, index)) ?? null)
      this.#keys.pop()
    }
    return items
  }

  #members(value: object): Json {
    const [symbol] = Object.getOwnPropertySymbols(value)
    if (symbol !== undefined) {
      this.#refuse(`the key ${String(symbol)} is a symbol; JSON has only text keys`)
    }
    const members: Record<string, Json> = {}
    for (const key of Object.keys(value)) {
      this.#keys.push(key)
      const copied = this.copy(this.#read(value, key))
      if (copied !== undefined) set(members, key, copied)
      this.#keys.pop()
    }
    return members
  }

  /** What `toJSON` answers is taken as it is: JSON.stringify asks once, too. */
  #lowered(value: object, toJson: ToJson): Json | undefined {
    let lowered: unknown
    try {
      lowered = toJson.call(value, String(this.#keys.at(-1) ?? ''))
    } catch (error) {
      return this.#refuse(`its toJSON() threw ${thrown(error)}`, error)
    }
    if (typeof lowered !== 'object' || lowered === null) return this.copy(lowered)
    if (Array.isArray(lowered)) return this.#items(lowered)
    return isPlain(lowered) ? this.#members(lowered) : this.#refuse(instanceReason(lowered))
  }

  #read(value: object, key: string | number): unknown {
    try {
      return (value as Record<string | number, unknown>)[key]
    } catch (error) {
      return this.#refuse(`it could not be read: its getter threw ${thrown(error)}`, error)
    }
  }

  #refuse(reason: string, cause?: unknown): never {
    const options = cause === undefined ? {} : { cause }
    throw new PayloadError(pathOf(this.#root, this.#keys), reason, options)
  }
}

/** `__proto__` is a name like any other in JSON. */
function set(members: Record<string, Json>, key: string, value: Json): void {
  if (key !== '__proto__') members[key] = value
  else {
    const member = { value, enumerable: true, configurable: true, writable: true }
    Object.defineProperty(members, key, member)
  }
}

/** An object literal, also one of another realm, such as that of a test runner's sandbox. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'toString')
}

function scalarReason(value: unknown): string {
  if (typeof value === 'bigint') return 'a bigint is not JSON; pass it as text'
  return `a ${typeof value} is not JSON`
}

/** Answers why an object is refused whatever its methods offer, or undefined. */
function objectReason(value: object): string | undefined {
  if (types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value)) {
    return `${article(className(value))} is not JSON; encode it as text, as with base64`
  }
  if (types.isDate(value) && Number.isNaN(value.getTime())) return 'an invalid Date is not JSON'
  if (types.isMap(value)) return 'a Map is not JSON; pass an object, or an array of its entries'
  if (types.isSet(value)) return 'a Set is not JSON; pass an array'
  if (types.isPromise(value)) return 'a Promise is not JSON; was an `await` forgotten?'
  return undefined
}

function instanceReason(value: object): string {
  return `an instance of ${className(value)} is not JSON; pass a plain object, or give the class a toJSON()`
}

function className(value: object): string {
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  return typeof name === 'string' && name !== '' ? name : 'an unnamed class'
}

function article(name: string): string {
  return `${/^[AEIOU](?!int)/.test(name) ? 'an' : 'a'} ${name}`
}

function thrown(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : typeof error
}

/** Answers how to call a value that is so deep in another one. */
function pathOf(root: string, keys: readonly (string | number)[]): string {
  return root + keys.map(member).join('')
}

function member(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  return /^[\p{ID_Start}_][\p{ID_Continue}]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

// --- text ---------------------------------------------------------------------------

/**
 * Writes a value as JSON.
 *
 * The text can always be encoded as UTF-8: lone surrogates are escaped.
 *
 * @throws {PayloadError} The value, or something in it, cannot be written.
 */
export function dumps(value: unknown, path = '$'): string {
  return JSON.stringify(plain(value, path))
}

/** Writes a whole request, whose payloads `plain` has seen. */
export function dumpRequest(request: object): string {
  return JSON.stringify(request)
}

/**
 * Reads JSON; the inverse of `dumps`.
 *
 * @throws {PayloadError} It is not JSON, or it holds a number that JavaScript cannot, such as
 *   1e400, which would silently become infinity, or 2^53 + 1, which would lose its last digit.
 */
export function loads(text: string): any {
  const value = parsed(text)
  for (const { keys, reason } of unsafeNumbers(text)) {
    throw new PayloadError(pathOf('$', keys), reason)
  }
  return value
}

function parsed(text: string): any {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new PayloadError('$', `it is not JSON: ${(error as Error).message}`)
  }
}

// --- replies ------------------------------------------------------------------------

/** The members of requests and replies that hold what users made. */
export const PAYLOADS: ReadonlySet<string | number> = new Set([
  'args',
  'kwargs',
  'result',
  'error',
  'progress',
  'state',
  'payload',
])

/**
 * Stands in a reply for a payload that JavaScript cannot hold.
 *
 * Only the execution that it belongs to is to fail, not the batch around it: so `adapt` throws
 * a PayloadError for whoever looks into it.
 */
export class Unreadable {
  readonly path: string
  readonly reason: string

  constructor(path: string, reason: string) {
    this.path = path
    this.reason = reason
  }
}

/**
 * Reads a reply of the library; payloads that JavaScript cannot hold become Unreadable.
 *
 * @throws {PayloadError} It is not JSON.
 */
export function loadReply(text: string): any {
  const reply = parsed(text)
  for (const { keys, reason } of unsafeNumbers(text)) markUnreadable(reply, keys, reason)
  return reply
}

function markUnreadable(reply: any, keys: readonly (string | number)[], reason: string): void {
  let holder = reply
  for (const [depth, key] of keys.entries()) {
    if (holder[key] instanceof Unreadable) return // by another number of the same payload
    if (PAYLOADS.has(key) && !isFault(key, holder[key])) {
      holder[key] = new Unreadable(pathOf(String(key), keys.slice(depth + 1)), reason)
      return
    }
    holder = holder[key]
  }
}

/** The library's own errors are no payloads, though they have the same name. */
function isFault(key: string | number, value: any): boolean {
  return key === 'error' && typeof value?.code === 'string' && value.type === undefined
}

/**
 * Answers a payload that came, if JavaScript can hold it; null if none came.
 *
 * @throws {PayloadError} It holds a number that JavaScript cannot.
 */
export function adapt(value: unknown, path?: string): any {
  if (!(value instanceof Unreadable)) return value ?? null
  const inside = value.path.replace(/^[a-z]+/, '')
  throw new PayloadError(path === undefined ? value.path : path + inside, value.reason)
}
