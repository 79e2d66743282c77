/**
 * JavaScript values as JSON and back, never changed in silence.
 *
 * What crosses the wire is plain JSON: null, booleans, finite numbers, text (lone surrogates
 * and NUL too), arrays and plain objects. A Date goes as its ISO text, and comes back as text;
 * so does whatever else has a `toJSON` method. NaN, infinities, undefined, bigints, symbols,
 * functions, Map, Set, bytes and instances of classes are refused with a PayloadError that
 * names the path.
 */

import { PayloadError } from './_errors'

/** How deep a payload may nest. */
export const MAX_DEPTH = 128

/** Any plain JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** Stands in a reply for a payload that JavaScript cannot hold; `adapt` throws for it. */
export class Unreadable {
  constructor(
    readonly path: string,
    readonly reason: string,
  ) {}
}

/**
 * Answers the plain JSON that stands for a value: a copy, which later changes do not reach.
 *
 * @param value What is to be sent.
 * @param path How to call the value in an error.
 * @throws {PayloadError} It, or something in it, is not JSON.
 */
export function plain(value: unknown, path = '$'): Json {
  throw new PayloadError(path, `not written yet ${String(value)}`)
}

/** Answers the arguments of a call as plain JSON; undefined at the end is left out. */
export function plainArguments(args: readonly unknown[]): Json[] {
  return args.map((arg, index) => plain(arg, `args[${index}]`))
}

/**
 * Answers a payload that came, if JavaScript can hold it.
 *
 * @throws {PayloadError} It was refused when its reply was read.
 */
export function adapt(value: unknown, path = '$'): any {
  if (value instanceof Unreadable) throw new PayloadError(value.path || path, value.reason)
  return value ?? null
}

/** Writes a value as JSON. @throws {PayloadError} It cannot be written. */
export function dumps(value: unknown, path = '$'): string {
  return JSON.stringify(plain(value, path))
}

/** Writes a whole request, whose payloads `plain` has seen. */
export function dumpRequest(request: object): string {
  return JSON.stringify(request)
}

/** Reads JSON; the inverse of `dumps`. @throws {PayloadError} It is not JSON, or holds a number that JavaScript cannot. */
export function loads(text: string): any {
  return JSON.parse(text)
}

/** Reads a reply of the library; payloads that JavaScript cannot hold become Unreadable. */
export function loadReply(text: string): any {
  return JSON.parse(text)
}
