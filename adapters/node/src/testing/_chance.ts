/** Chance that can be had again: the same seed, the same numbers. */
import { createHash } from 'node:crypto'

/** Numbers that follow from a seed (sfc32, of which the state is a hash of the seed). */
export class Chance {
  readonly #state: Uint32Array

  constructor(seed: string) {
    const hash = createHash('sha256').update(seed).digest()
    this.#state = Uint32Array.from([0, 4, 8, 12], (at) => hash.readUInt32LE(at))
  }

  /** Answers an integer of 32 bits. */
  integer(): number {
    const [a = 0, b = 0, c = 0, counter = 0] = this.#state
    const sum = (a + b + counter) >>> 0
    this.#state[0] = b ^ (b >>> 9)
    this.#state[1] = c + (c << 3)
    this.#state[2] = ((c << 21) | (c >>> 11)) + sum
    this.#state[3] = counter + 1
    return sum
  }

  /** Answers a number from 0 to below 1. */
  number(): number {
    return this.integer() / 2 ** 32
  }

  /** Answers so many hexadecimal digits. */
  hex(digits: number): string {
    let found = ''
    while (found.length < digits) found += this.integer().toString(16).padStart(8, '0')
    return found.slice(0, digits)
  }

  /** Answers the digits of a uuid from its variant on, which is that of RFC 9562. */
  variant(): string {
    const first = (8 + (this.integer() & 3)).toString(16)
    return `${first}${this.hex(3)}-${this.hex(12)}`
  }
}
