/** Types of what arrives: what a value has become when it has been JSON. */

/** JSON already, also where it holds itself. */
type JsonAlready =
  | null
  | boolean
  | number
  | string
  | readonly JsonAlready[]
  | { readonly [key: string]: JsonAlready }

/** What is refused, also if it has a toJSON(). */
type Refused =
  | bigint
  | symbol
  | ((...args: never[]) => unknown)
  | (abstract new (
      ...args: never[]
    ) => unknown)
  | PromiseLike<unknown>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBufferLike
  | ArrayBufferView

/** Whether a type is void itself, and not a union with it. */
// biome-ignore lint/suspicious/noConfusingVoidType: it is what functions answer
type IsVoid<T> = [T] extends [undefined] ? false : [T] extends [void] ? true : false

/**
 * What arrives of a value of this type.
 *
 * A Date arrives as its ISO text, whatever has a `toJSON()` as what that answers, and undefined as
 * null, but for members of objects, which are left out. What cannot be sent, such as a Map or a
 * bigint, is never there. Plain JSON stays the very type that it is; so do any and unknown, and
 * void, which says already that there is nothing to look at.
 *
 * @example
 * ```ts
 * type Arrived = Wire<{ at: Date; tags: string[] }> // { at: string; tags: string[] }
 * ```
 */
export type Wire<T> = IsVoid<T> extends true ? T : Same<T, Arriving<T>>

/** The type by its own name if it is the same, so that editors show that. */
type Same<T, W> = [T] extends [W] ? ([W] extends [T] ? T : W) : W

type Arriving<T> = unknown extends T
  ? T
  : T extends JsonAlready
    ? T
    : // biome-ignore lint/suspicious/noConfusingVoidType: it is what functions answer
      T extends undefined | void
      ? null
      : T extends Refused
        ? never
        : T extends { toJSON(key: string): infer J }
          ? Arriving<J>
          : T extends readonly unknown[]
            ? Items<T>
            : T extends object
              ? { [K in keyof T]: Member<T[K]> }
              : T

type Items<T extends readonly unknown[]> = T[number][] extends T // no tuple
  ? T extends unknown[]
    ? Arriving<T[number]>[]
    : readonly Arriving<T[number]>[]
  : { [K in keyof T]: Item<T, K> }

/** Optional members of a tuple are not there, all others are null. */
type Item<T, K extends keyof T> = object extends Pick<T, K> ? Member<T[K]> : Arriving<T[K]>

/** A member that is undefined is left out, which reads as undefined again. */
type Member<T> = unknown extends T ? T : Arriving<Exclude<T, undefined>> | Extract<T, undefined>
