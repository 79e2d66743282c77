/** A map of numbers that mostly holds one entry or none. */

/**
 * Does what a Map does, in the same order, and makes one only for a second entry.
 *
 * A Map takes 250 bytes when it is empty, and as many again when its last entry goes. A workflow
 * that asks for one thing after another would make most of its garbage so.
 */
export class Few<V> {
  #key = 0
  #value: V | undefined
  #more: Map<number, V> | undefined

  get size(): number {
    return (this.#value === undefined ? 0 : 1) + (this.#more?.size ?? 0)
  }

  get(key: number): V | undefined {
    if (this.#value !== undefined && this.#key === key) return this.#value
    return this.#more?.get(key)
  }

  has(key: number): boolean {
    return this.get(key) !== undefined
  }

  set(key: number, value: V): void {
    const isFirst = this.#value === undefined ? this.#isAlone : this.#key === key
    if (isFirst) {
      this.#key = key
      this.#value = value
      return
    }
    this.#more ??= new Map()
    this.#more.set(key, value)
  }

  delete(key: number): boolean {
    if (this.#value === undefined || this.#key !== key) return this.#more?.delete(key) ?? false
    this.#value = undefined
    return true
  }

  clear(): void {
    this.#value = undefined
    this.#more = undefined
  }

  /** Answers all that it holds now. */
  values(): V[] {
    const first = this.#value === undefined ? [] : [this.#value]
    return this.#isAlone ? first : [...first, ...(this.#more as Map<number, V>).values()]
  }

  /** Answers all that it holds now, with their keys. */
  entries(): [number, V][] {
    const first: [number, V][] = this.#value === undefined ? [] : [[this.#key, this.#value]]
    return this.#isAlone ? first : [...first, ...(this.#more as Map<number, V>)]
  }

  /** Whether there is nothing but the first. What came before others stays before them. */
  get #isAlone(): boolean {
    return this.#more === undefined || this.#more.size === 0
  }
}
