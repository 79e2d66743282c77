/** What is known of a workflow's history: what it recorded, what comes next, its time and chance. */

import { Chance } from './_chance'
import { NonDeterminismError, VersionError } from './_errors'
import { Few } from './_few'
import { Place } from './_loop'
import type { Claimed, Event } from './_operations'

/** How many events a history may have: the library's default. */
export const MAX_HISTORY = 50_000

/** Events that record commands, and what each commands. */
export const COMMANDS: Readonly<Record<string, string>> = {
  activity_scheduled: 'activity',
  child_started: 'child',
  timer_started: 'timer',
  state_set: 'state',
  step_completed: 'step',
  step_failed: 'step',
}
const ENDS = new Set<string>([
  'activity_completed',
  'activity_failed',
  'activity_cancelled',
  'child_completed',
  'child_failed',
  'child_cancelled',
  'timer_fired',
  'timer_cancelled',
])
const NAMES: Readonly<Record<string, string>> = {
  activity: 'the activity',
  child: 'the child workflow',
  timer: 'the timer',
  state: 'setState',
  step: 'the step',
}
const BEFORE = 3
const AFTER = 2
const MAX_NAME = 48
const MAX_PLACE = 120

/** What a workflow's code is checked against, and told. */
export class History {
  readonly #id: string
  readonly #name: string
  /** The last event that code has suspended with, which need not have been this code. */
  readonly #seen: number
  /** The run in which this history began: a retry goes on from a copy of it. */
  origin: number
  /** The sequence given last. */
  sequence = 0
  /** Commands that history has and the code has not asked for yet. */
  readonly recorded = new Few<Event>()
  /** What has ended according to events that were not applied yet. */
  readonly ended = new Few<true>()
  #versions: Map<string, number> | undefined
  fault: NonDeterminismError | undefined
  /** How many events were applied. */
  length = 0
  /** The code has gone further than history. */
  live = false
  /**
   * Where the code made its last call.
   *
   * To note it takes as long as all the rest of a call, so it is noted for one that does not fit,
   * and for others when somebody wants it.
   */
  place: Place | undefined
  #last = 0
  // The commands that fitted last, to be told together with one that does not.
  readonly #fitted: Event[] = []
  #marked: Set<number> | undefined
  #ats: string[] = []
  #now = 0 // microseconds since 1970, as Python counts
  #random: Chance | undefined
  #uuids: Chance | undefined

  constructor(
    claimed: Claimed,
    /** Whether the places of all calls are wanted. */
    private readonly placed = false,
  ) {
    this.#id = claimed.id
    this.#name = claimed.name
    this.#seen = claimed.seen ?? 0
    this.origin = claimed.run ?? 1
  }

  /** Notes what is known to come, before any of it is applied. */
  index(event: Event): void {
    const { type, sequence = 0 } = event
    if (type in COMMANDS && sequence > this.sequence) {
      this.recorded.set(sequence, event)
      this.#last = Math.max(this.#last, sequence)
    } else if (ENDS.has(type)) {
      this.ended.set(sequence, true)
    } else if (type === 'version_marked') {
      this.#mark(sequence)
      const change = event.name ?? ''
      if (!this.#versions?.has(change)) this.#choose(change, Number(event.payload))
    } else if (type === 'retried') {
      this.origin -= 1
    }
  }

  /** Notes that an event was applied. */
  happened(event: Event): void {
    this.#ats.push(event.at)
    this.length = event.position
    if (ENDS.has(event.type)) this.ended.delete(event.sequence ?? 0)
  }

  /** Whether history has commands after the one that was given last. */
  get goesOn(): boolean {
    return this.#last > this.sequence
  }

  /** Answers the sequence of the next command. */
  nextSequence(): number {
    let sequence = this.sequence + 1
    // Version markers have numbers too, but their calls may have been removed.
    while (this.#marked?.has(sequence)) sequence += 1
    return sequence
  }

  /** Assigns the next sequence, and checks it against what history recorded for it. */
  next(kind: string, name: string): { sequence: number; recorded: Event | undefined } {
    const sequence = this.nextSequence()
    this.sequence = sequence
    const recorded = this.recorded.get(sequence)
    if (recorded !== undefined) this.recorded.delete(sequence)
    const fits =
      recorded === undefined || (COMMANDS[recorded.type] === kind && (recorded.name ?? '') === name)
    this.place = fits && !this.placed ? undefined : new Place()
    if (recorded === undefined) {
      this.live ||= sequence > this.#last
    } else if (!fits) {
      this.mismatch(recorded, called(kind, name), this.place)
    } else {
      this.#fitted.push(recorded)
      if (this.#fitted.length > BEFORE) this.#fitted.shift()
    }
    return { sequence, recorded }
  }

  /** Notes that the code does not fit, at the first place where it does not. */
  mismatch(recorded: Event, attempted: string, where?: Place): void {
    this.fault ??= new NonDeterminismError(this.#told(recorded, attempted, `${where ?? ''}`), {
      position: recorded.position,
      recorded: of(recorded),
      attempted,
    })
  }

  #told(recorded: Event, attempted: string, where: string): string {
    const { position, sequence } = recorded
    return (
      `the code of workflow ${short(this.#name)} does not fit its history, at position ` +
      `${position}.\n` +
      `  at position ${position} history recorded: ${of(recorded)} (sequence ${sequence})\n` +
      `  at that point the code attempted: ${attempted}${where.slice(-MAX_PLACE)}\n` +
      '\n' +
      `${this.#beside(recorded, attempted)}\n` +
      '\n' +
      'Put the old code back, or make the change conditional with workflows.getVersion(); ' +
      `then: workflows retry ${this.#id}\n` +
      `To try code on it without running anything: workflows replay -m MODULE --id ${this.#id}`
    )
  }

  /** A table of the commands up to the mismatch and what history has after it. */
  #beside(recorded: Event, attempted: string): string {
    const sequence = recorded.sequence ?? 0
    const rows: [string, string, string][] = [
      ['position', 'history recorded', 'the code attempted'],
    ]
    for (const each of this.#fitted) rows.push([`${each.position}`, of(each), 'the same'])
    rows.push([`-> ${recorded.position}`, of(recorded), attempted])
    for (let further = 1; further <= AFTER; further++) {
      const each = this.recorded.get(sequence + further)
      if (each !== undefined) rows.push([`${each.position}`, of(each), ''])
    }
    const width = Math.max(...rows.map(([, was]) => [...was].length))
    const line = ([at, was, is]: [string, string, string]) =>
      `  ${at.padStart(9)}  ${padded(was, width)}  ${is}`.trimEnd()
    return rows.map(line).join('\n')
  }

  /**
   * Answers the version of a change, and the sequence of its marker if it is a new one.
   *
   * @throws VersionError - the code does not have the version that was recorded.
   */
  version(change: string, minimum: number, maximum: number): [number, number | undefined] {
    let version = this.#versions?.get(change)
    let sequence: number | undefined
    if (version === undefined && this.goesOn) {
      version = minimum // it passed this point without a marker
      this.#choose(change, version)
    } else if (version === undefined) {
      // Code without the call has passed it too where it went on to wait and asked for nothing,
      // as for a signal. Later claims may not tell of that, so it is recorded.
      version = this.length <= this.#seen ? minimum : maximum
      sequence = this.mark(change, version)
    }
    if (version < minimum || version > maximum) {
      throw new VersionError(
        `the workflow recorded version ${version} of ${quoted(change)}, and this code knows ` +
          `${minimum} to ${maximum}; deploy code that still has that version until no such ` +
          'workflow is left',
        { change, recorded: version, minimum, maximum },
      )
    }
    return [version, sequence]
  }

  /** Chooses a version that history does not have, and answers the sequence of its marker. */
  mark(change: string, version: number): number {
    this.#choose(change, version)
    this.sequence = this.nextSequence()
    this.#mark(this.sequence)
    this.live = true
    return this.sequence
  }

  // Few workflows have any of these, so nothing is made for them before.
  #choose(change: string, version: number): void {
    this.#versions ??= new Map()
    this.#versions.set(change, version)
  }

  #mark(sequence: number): void {
    this.#marked ??= new Set()
    this.#marked.add(sequence)
  }

  /** The greatest time of an event so far. */
  now(): Date {
    return new Date(Math.floor(this.#micros() / 1000))
  }

  /** The same in whole milliseconds since 1970, as Python rounds them. */
  timeMs(): number {
    return Math.trunc((this.#micros() / 1e6) * 1000)
  }

  /** A number from 0 to 1. */
  random(): number {
    this.#random ??= new Chance(`${this.#id}:${this.origin}:random`)
    return this.#random.random()
  }

  /** A random uuid. */
  uuid4(): string {
    this.#uuids ??= new Chance(`${this.#id}:${this.origin}:uuid4`)
    return this.#uuids.uuid4()
  }

  #micros(): number {
    for (const at of this.#ats) this.#now = Math.max(this.#now, microsOf(at))
    this.#ats = []
    return this.#now
  }
}

const FRACTION = /\.(\d+)/

/** Answers an instant of the wire in microseconds since 1970: a Date has milliseconds only. */
function microsOf(at: string): number {
  const fraction = (FRACTION.exec(at)?.[1] ?? '').slice(0, 6).padEnd(6, '0')
  return Date.parse(at.replace(FRACTION, '')) * 1000 + Number(fraction)
}

function of(event: Event): string {
  return called(COMMANDS[event.type] ?? '', event.name ?? '')
}

function called(kind: string, name: string): string {
  return name ? `${NAMES[kind]} ${short(name)}` : `${NAMES[kind]}`
}

function short(name: string): string {
  const shown = [...quoted(name)]
  if (shown.length <= MAX_NAME) return shown.join('')
  return `${shown.slice(0, MAX_NAME - 2).join('')}…${shown.at(-1)}`
}

/** Answers a text in quotes, as Python shows it. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const inner = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"')
  return quote + (quote === "'" ? inner.replaceAll("'", "\\'") : inner) + quote
}

function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - [...text].length))
}

/** Answers the sequence of the command that an event belongs to. */
export function sequenceIn(event: Event): number {
  return event.sequence ?? 0
}

/** Answers the id of the child that an event tells of. */
export function idIn(event: Event): string {
  const { id } = (event.payload ?? {}) as { readonly id?: string }
  return id ?? ''
}
