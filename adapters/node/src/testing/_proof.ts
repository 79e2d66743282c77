/** The proof that workflow code is deterministic: every prefix of a history, replayed cold. */

import { isDeepStrictEqual } from 'node:util'
import { frozen, type Turn } from '../_calls'
import { NonDeterminismError } from '../_errors'
import type { DurableFunction } from '../_functions'
import { COMMANDS } from '../_history'
import type { Claimed, Event } from '../_operations'
import { dumpRequest, loads } from '../_payload'
import { Replay } from '../_replay'
import type { Json, Row } from './_rows'

/** Which prefixes of a history are replayed. */
export type Prove = 'every' | 'sample' | 'never'

// Events that the prefixes of one history may have together, when they are sampled. All
// prefixes of a history of 200 events have so many.
const BUDGET = 20_000

/** Runs a workflow's code over a history, from the start, and forgets it afterwards. */
export async function replayed<T>(
  claimed: Json,
  fn: DurableFunction,
  events: readonly Json[],
  use: (replay: Replay) => T,
): Promise<T> {
  const fresh = { ...claimed, args: frozen(claimed.args), kwargs: frozen(claimed.kwargs) }
  const replay = new Replay(fresh as unknown as Claimed, fn)
  try {
    await replay.feed(events.map(own) as unknown as Event[])
    return use(replay)
  } finally {
    replay.discard()
  }
}

/** Answers an event whose payload is nobody else's: code may change what it gets. */
function own(event: Json): Json {
  return 'payload' in event ? { ...event, payload: frozen(event.payload) } : event
}

/** Answers how long the prefixes are that are replayed. */
export function lengths(total: number, prove: Prove): number[] {
  if (prove === 'never' || total === 0) return []
  const sampled = Math.max(2, Math.min(total, Math.floor((2 * BUDGET) / total)))
  const count = prove === 'every' ? total : Math.min(total, sampled)
  const found = new Set<number>()
  for (let n = 1; n <= count; n++) found.add(Math.max(1, Math.round((total * n) / count)))
  return [...found]
}

/**
 * Replays prefixes of one run's history, and compares what the code asks for.
 *
 * @throws NonDeterminismError - it asked for something else than it did before.
 */
export async function prove(row: Row, run: number, fn: DurableFunction, how: Prove): Promise<void> {
  const claimed = row.claims.get(run)
  const events = row.histories.get(run) ?? []
  if (claimed === undefined) return
  for (const length of lengths(events.length, how)) {
    await replayed(claimed, fn, events.slice(0, length), (replay) => {
      const turn = replay.turn()
      if (replay.history.fault !== undefined) throw replay.history.fault
      new Comparison(row, run, length).check(turn)
    })
  }
}

/** What the code asks for after a prefix, and what it asked for when it ran. */
class Comparison {
  readonly #events: readonly Json[]
  readonly #sent: ReadonlyMap<string, Json>

  constructor(
    private readonly row: Row,
    private readonly run: number,
    private readonly length: number,
  ) {
    this.#events = row.histories.get(run) ?? []
    this.#sent = row.sent.get(run) ?? new Map()
  }

  /** Throws a NonDeterminismError where they differ. */
  check(turn: Turn): void {
    for (const command of turn.commands) {
      if (command.type !== 'cancel') this.#checkCommand(loads(dumpRequest(command)))
    }
    for (const { call } of turn.steps) {
      const later = this.#recorded(call.sequence)
      if (later !== undefined && later.name !== call.name) {
        this.#differ(call.sequence, told(later), `the step '${call.name}'`)
      }
    }
    if (this.length === this.#events.length) this.#checkOutcome(turn)
  }

  #checkCommand(command: Json): void {
    const { sequence } = command
    const sent = this.#sent.get(`${sequence} ${command.type}`)
    if (sent !== undefined) {
      if (!isDeepStrictEqual(sent, command)) this.#differ(sequence, ...differing(sent, command))
      return
    }
    const other = [...this.#sent.values()].find(
      (each) => each.sequence === sequence && each.type !== 'cancel',
    )
    if (other !== undefined) this.#differ(sequence, describe(other), describe(command))
  }

  #checkOutcome(turn: Turn): void {
    const outcome = this.row.outcomes.get(this.run)
    if (outcome === undefined) return
    const was = ending(outcome)
    const now = endingOf(turn)
    if (!isDeepStrictEqual(was, now)) this.#differ(0, said(was), said(now))
  }

  #recorded(sequence: number): Json | undefined {
    const later = this.#events.slice(this.length)
    return later.find((event) => event.sequence === sequence && event.type in COMMANDS)
  }

  #differ(sequence: number, recorded: string, attempted: string): never {
    const where = sequence ? ` (sequence ${sequence})` : ''
    throw new NonDeterminismError(
      `the code of workflow '${this.row.name}' is not deterministic: replayed from the first ` +
        `${this.length} events of its history it did something else.\n` +
        `  before it was: ${recorded}${where}\n` +
        `  replayed it was: ${attempted}\n` +
        'Whatever differs between two runs of the code belongs into an activity or a step: clocks, ' +
        'random numbers, the order in which a promise of your own settles, files, the network.',
      { position: this.length, recorded, attempted },
    )
  }
}

function told(event: Json): string {
  return `the ${COMMANDS[event.type]} '${event.name ?? ''}'`
}

function describe({ type, name, execution }: Json): string {
  if (execution) return `the ${execution.kind} '${execution.name}'`
  return name ? `${type} '${name}'` : type
}

/** Answers two commands of one type in words, with the fields in which they differ. */
function differing(sent: Json, command: Json): [string, string] {
  const before = flat(sent)
  const now = flat(command)
  const fields = Object.keys({ ...before, ...now }).filter(
    (field) => field !== 'name' && !isDeepStrictEqual(before[field], now[field]),
  )
  const words = (of: Json, from: Json) =>
    [describe(of), ...fields.map((field) => `${field}=${shown(from[field])}`)].join(' ')
  return [words(sent, before), words(command, now)]
}

function flat({ execution, ...command }: Json): Json {
  return { ...command, ...execution }
}

function shown(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value)
}

/** How code ended, and with what. */
type Ending = readonly [then: string, what: unknown]

function ending({ then, result, error, args, kwargs }: Json): Ending {
  if (then === 'complete') return [then, result ?? null]
  if (then === 'fail') return [then, error?.type]
  return [then, [args ?? [], kwargs ?? {}]]
}

function endingOf(turn: Turn): Ending {
  const { then, result, error, nextRun } = turn
  if (then === 'complete' || then === 'fail') return ending({ then, result: json(result), error })
  if (then !== 'continue') return ['wait', null]
  return ending({ then, ...json(nextRun) })
}

function json(value: unknown): any {
  return value === undefined ? undefined : loads(dumpRequest({ value })).value
}

function said([then, what]: Ending): string {
  if (then === 'complete') return `its end, with the result ${shown(what)}`
  if (then === 'fail') return `its failure, with ${what}`
  return then === 'wait' ? 'nothing, it waits' : `continuing as new, with ${shown(what)}`
}
