/**
 * Chance that is the same in every process and language: what `random.Random(text)` and
 * `hashlib.blake2b` answer in Python.
 */

import { createHash } from 'node:crypto'

const SIZE = 624
const SHIFT = 397

/** Random numbers from a text: the Mersenne Twister, seeded as Python seeds it. */
export class Chance {
  readonly #state = new Uint32Array(SIZE)
  #next = SIZE

  constructor(text: string) {
    const bytes = Buffer.from(text)
    this.#seed(wordsOf(Buffer.concat([bytes, createHash('sha512').update(bytes).digest()])))
  }

  /** Answers a number from 0 up to 1. */
  random(): number {
    const high = this.#word() >>> 5
    return (high * 0x4000000 + (this.#word() >>> 6)) / 2 ** 53
  }

  /** Answers a random uuid. */
  uuid4(): string {
    const bytes = Buffer.alloc(16)
    for (let at = 12; at >= 0; at -= 4) bytes.writeUInt32BE(this.#word(), at)
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
    const hex = bytes.toString('hex')
    return [8, 12, 16, 20, 32].map((end, n) => hex.slice([0, 8, 12, 16, 20][n], end)).join('-')
  }

  #seed(key: Uint32Array): void {
    const state = this.#state
    state[0] = 19650218
    for (let n = 1; n < SIZE; n++) state[n] = Math.imul(1812433253, mixed(state, n - 1)) + n
    let at = 1
    for (let n = 0; n < Math.max(SIZE, key.length); n++) {
      const from = n % key.length
      state[at] =
        (at_(state, at) ^ Math.imul(mixed(state, at - 1), 1664525)) + at_(key, from) + from
      at = advanced(state, at)
    }
    for (let n = 1; n < SIZE; n++) {
      state[at] = (at_(state, at) ^ Math.imul(mixed(state, at - 1), 1566083941)) - at
      at = advanced(state, at)
    }
    state[0] = 0x80000000
  }

  #word(): number {
    if (this.#next === SIZE) this.#twist()
    let word = at_(this.#state, this.#next++)
    word ^= word >>> 11
    word ^= (word << 7) & 0x9d2c5680
    word ^= (word << 15) & 0xefc60000
    return (word ^ (word >>> 18)) >>> 0
  }

  #twist(): void {
    const state = this.#state
    for (let n = 0; n < SIZE; n++) {
      const word = (at_(state, n) & 0x80000000) | (at_(state, (n + 1) % SIZE) & 0x7fffffff)
      state[n] = at_(state, (n + SHIFT) % SIZE) ^ (word >>> 1) ^ (word & 1 ? 0x9908b0df : 0)
    }
    this.#next = 0
  }
}

function at_(words: Uint32Array, index: number): number {
  return words[index] as number
}

function mixed(state: Uint32Array, index: number): number {
  const word = at_(state, index)
  return word ^ (word >>> 30)
}

function advanced(state: Uint32Array, at: number): number {
  if (at + 1 < SIZE) return at + 1
  state[0] = at_(state, SIZE - 1)
  return 1
}

/** Answers a number that is written in big-endian bytes as words, the least first. */
function wordsOf(bytes: Buffer): Uint32Array {
  const padded = Buffer.concat([Buffer.alloc(-bytes.length & 3), bytes])
  const words = new Uint32Array(padded.length / 4)
  for (const at of words.keys()) words[at] = padded.readUInt32BE(padded.length - 4 * (at + 1))
  return words
}

// --- BLAKE2b: Node has it with 64 bytes only, which is another function ---

const MASK = 2n ** 64n - 1n
const START = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
]
// Of each round, which words of the message are taken, in hexadecimal.
const ORDERS = [
  '0123456789abcdef',
  'ea489fd61c02b753',
  'b8c052fdae367194',
  '7931dcbe265a40f8',
  '905724afe1bc683d',
  '2c6a0b834d75fe19',
  'c51fed4a0763928b',
  'db7ec13950f4862a',
  '6fe9b308c2d714a5',
  'a2847615fb9e3cd0',
]
const MIXES = ['048c', '159d', '26ae', '37bf', '05af', '16bc', '278d', '349e'].map((places) =>
  [...places].map((place) => Number.parseInt(place, 16)),
)
const BLOCK = 128

/** Answers the BLAKE2b hash, of this many bytes, of a text that fits into one block of 128 bytes. */
export function blake2b(text: Uint8Array, size: number): Uint8Array {
  if (text.length > BLOCK) throw new RangeError(`blake2b takes ${BLOCK} bytes, not ${text.length}`)
  const block = Buffer.alloc(BLOCK)
  block.set(text)
  const message = Array.from({ length: 16 }, (_, word) => block.readBigUInt64LE(8 * word))
  const first = START.map((word, n) => (n === 0 ? word ^ 0x01010000n ^ BigInt(size) : word))
  const state = [...first, ...START]
  state[12] = (state[12] as bigint) ^ BigInt(text.length)
  state[14] = (state[14] as bigint) ^ MASK // it is the last block
  for (let round = 0; round < 12; round++) mixRound(state, message, ORDERS[round % 10] as string)
  const hash = Buffer.alloc(64)
  first.forEach((word, n) => {
    hash.writeBigUInt64LE(word ^ (state[n] as bigint) ^ (state[n + 8] as bigint), 8 * n)
  })
  return hash.subarray(0, size)
}

function mixRound(state: bigint[], message: bigint[], order: string): void {
  MIXES.forEach((places, n) => {
    const one = message[Number.parseInt(order[2 * n] as string, 16)] as bigint
    const other = message[Number.parseInt(order[2 * n + 1] as string, 16)] as bigint
    mix(state, places, one, other)
  })
}

function mix(state: bigint[], places: number[], one: bigint, other: bigint): void {
  const [a, b, c, d] = places as [number, number, number, number]
  const v = state as { [at: number]: bigint } & bigint[]
  const half = (word: bigint, first: bigint, second: bigint): void => {
    v[a] = (at(v, a) + at(v, b) + word) & MASK
    v[d] = turned(at(v, d) ^ at(v, a), first)
    v[c] = (at(v, c) + at(v, d)) & MASK
    v[b] = turned(at(v, b) ^ at(v, c), second)
  }
  half(one, 32n, 24n)
  half(other, 16n, 63n)
}

function at(words: bigint[], index: number): bigint {
  return words[index] as bigint
}

function turned(word: bigint, by: bigint): bigint {
  return ((word >> by) | (word << (64n - by))) & MASK
}
