/** Time that is skipped: a clock that stands still, and what is due on it. */

/** Answers an instant as microseconds since 1970. */
export function micros(moment: Date | string): number {
  if (moment instanceof Date) return moment.getTime() * 1000
  const below = /\.\d{3}(\d{1,3})/.exec(moment)?.[1] ?? '' // a Date knows milliseconds only
  return Date.parse(moment) * 1000 + Number(below.padEnd(3, '0'))
}

/** Answers microseconds since 1970 as an instant, to the millisecond. */
export function instant(at: number): Date {
  return new Date(Math.floor(at / 1000))
}

/** Answers microseconds since 1970 as the library writes an instant. */
export function text(at: number): string {
  const millis = Math.floor(at / 1000)
  const whole = new Date(millis).toISOString() // 2026-01-31T12:00:00.000Z
  const fraction = `${whole.slice(20, -1)}${String(at - millis * 1000).padStart(3, '0')}`
  const told = fraction.replace(/0+$/, '')
  return told === '' ? `${whole.slice(0, 19)}Z` : `${whole.slice(0, 19)}.${told}Z`
}

/** The time of an environment, in microseconds since 1970. It moves when it is told to. */
export class Clock {
  readonly start: number
  now: number

  constructor(start: Date) {
    this.start = this.now = micros(start)
  }

  /** How long the environment has been going. */
  get seconds(): number {
    return (this.now - this.start) / 1e6
  }

  /** Goes forward, never back. */
  advance(to: number): void {
    this.now = Math.max(this.now, to)
  }

  /** Answers the time as the library writes it. */
  at(): string {
    return text(this.now)
  }
}

/** Something that is to happen at an instant, unless it is dropped before. */
export class Due {
  constructor(
    readonly at: number,
    readonly what: string,
    public act: (() => void) | undefined,
    readonly rank = 0,
  ) {}

  /** Takes it back. */
  drop(): void {
    this.act = undefined
  }
}

/**
 * What is due, the earliest first.
 *
 * Of what is due at the same instant the lower rank comes first, and then what was
 * entered first.
 */
export class Agenda {
  readonly #entries: Due[] = [] // the next one is the last, so that taking it is cheap

  /** Enters something; `what` says it to a reader. */
  add(at: number, what: string, act: () => void, rank = 0): Due {
    const due = new Due(at, what, act, rank)
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(due, this.#entries[middle] as Due)) low = middle + 1
      else high = middle
    }
    this.#entries.splice(low, 0, due)
    return due
  }

  /** Answers what is due first, or undefined. */
  next(): Due | undefined {
    while (this.#entries.length > 0 && this.#entries.at(-1)?.act === undefined) this.#entries.pop()
    return this.#entries.at(-1)
  }

  /** Removes and answers what is due first, if it is due by then. */
  take(until: number): Due | undefined {
    const due = this.next()
    if (due === undefined || due.at > until) return undefined
    this.#entries.pop()
    return due
  }
}

function isBefore(due: Due, other: Due): boolean {
  return due.at < other.at || (due.at === other.at && due.rank < other.rank)
}
