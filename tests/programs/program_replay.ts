/** Replays histories without worker or database; program_replay.py is its twin, which says more. */

import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { CancelledError } from 'libworkflows'
import type * as Calls from '../../adapters/node/src/_calls'
import type * as Guards from '../../adapters/node/src/_guards'
import type * as Log from '../../adapters/node/src/_log'
import type { Claimed, Event } from '../../adapters/node/src/_operations'
import type * as Process from '../../adapters/node/src/_process'
import type * as ReplayModule from '../../adapters/node/src/_replay'
import type { Node } from './program_bodies'
import { describe, program } from './program_functions'

const home = dirname(require.resolve('libworkflows'))
const { installGuards } = require(join(home, '_guards.js')) as typeof Guards
const { setLogger } = require(join(home, '_log.js')) as typeof Log
const { bearRejections } = require(join(home, '_process.js')) as typeof Process
const { Replay } = require(join(home, '_replay.js')) as typeof ReplayModule

/** As the model has the value of a run that continues as new. */
const CONTINUED = 'continued'

const STEPS = ['step_completed', 'step_failed']

type Ended = (value: unknown, error?: unknown) => void

/** Answers the interpreter with an ear for its end, which hears of it before the replay does. */
function heard(ended: Ended): Calls.Callee {
  const definition: unknown = program.definition // by the types of what was built
  const interpreter = definition as Calls.Callee
  const plain = (node: Node) => {
    const answer = interpreter.plain(node) as Promise<unknown>
    answer.then(
      (value) => ended(['ok', value]),
      (error: unknown) =>
        ended(error instanceof CancelledError ? ['stopped'] : ['failed', describe(error)]),
    )
    return answer
  }
  return interpreter.with({ plain })
}

/** A replay that notes what the code asks for, and what it takes back before anybody heard. */
class Watched extends Replay {
  /** Sequence, whether it was recorded, and isReplaying() before and after. */
  readonly asks: [number, boolean, boolean, boolean][] = []
  readonly withdrawn = new Set<number>()
  /** What the code cancelled while it was open. */
  readonly abandonedOnes = new Set<number>()
  readonly #unheard = new Set<number>()
  #outcome: unknown = null

  constructor(claimed: Claimed) {
    let ended: Ended = () => {}
    super(
      claimed,
      heard((outcome) => ended(outcome)),
    )
    ended = (outcome) => {
      this.#outcome ??= outcome
    }
    this.#listen()
  }

  /** How the code ended: as the model has it; null while it waits. */
  get outcome(): unknown {
    return this.over ? (this.#outcome ?? ['stopped']) : null // perhaps before it had begun
  }

  #listen(): void {
    const { asked, history } = this
    const next = history.next.bind(history)
    history.next = (kind, name) => {
      const before = this.isReplaying()
      const found = next(kind, name)
      const { sequence, recorded } = found
      this.asks.push([sequence, recorded !== undefined, before, this.isReplaying()])
      return found
    }
    const emit = asked.emit.bind(asked)
    asked.emit = (command) => {
      if (command.type !== 'cancel' && !this.over) this.#unheard.add(command.sequence)
      emit(command)
    }
    const handedOver = asked.handedOver.bind(asked)
    asked.handedOver = () => {
      this.#unheard.clear()
      return handedOver()
    }
    this.#listenForCancels()
  }

  #listenForCancels(): void {
    const { asked } = this
    const stop = asked.stop.bind(asked)
    asked.stop = (call) => {
      this.#givenUp(call.sequence)
      stop(call)
    }
    const cancelTimer = asked.cancelTimer.bind(asked)
    asked.cancelTimer = (sequence) => {
      if (asked.timers.has(sequence)) this.#givenUp(sequence)
      cancelTimer(sequence)
    }
  }

  /** Notes what is cancelled. */
  override abandoned(call: Calls.Call): void {
    const { kind, sequence } = call
    const isOpen = this.asked.pending.has(sequence) && !this.discarded
    if ((kind === 'activity' || kind === 'child') && isOpen) this.#givenUp(sequence)
    super.abandoned(call)
  }

  #givenUp(sequence: number): void {
    if (this.over) return // a signal came after the end, to a wait that nobody awaits any more
    this.abandonedOnes.add(sequence)
    if (this.#unheard.delete(sequence)) this.withdrawn.add(sequence)
  }

  /** Notes that the code went on as a new run. */
  override continueAsNew(args: readonly unknown[]): Promise<never> {
    const following = super.continueAsNew(args)
    this.#outcome ??= ['ok', CONTINUED]
    return following
  }

  /** What the code asks for now, and how it ended if it has. */
  told(): Record<string, unknown> {
    const { then, commands, steps, message, result, error } = this.turn()
    return {
      then,
      commands,
      steps: steps.map((step) => [step.call.sequence, step.call.name, step.args]),
      message,
      result: result ?? null,
      error: error === undefined ? null : { type: error.type, message: error.message },
      outcome: this.outcome,
    }
  }
}

/** A replay of the first events of a history, from the start. */
async function replayed(claimed: Claimed, events: readonly Event[]): Promise<object> {
  const replay = new Watched(claimed)
  await replay.feed(events)
  const told = replay.told()
  const { asks, withdrawn, abandonedOnes } = replay
  replay.discard()
  return { ...told, asked: asks, withdrawn: [...withdrawn], abandoned: [...abandonedOnes] }
}

/** What a workflow that stays in memory asks for after each event. */
async function inMemory(claimed: Claimed, events: readonly Event[]): Promise<object[]> {
  const replay = new Watched(claimed)
  const turns: object[] = []
  for (const event of events) {
    if (STEPS.includes(event.type)) replay.stepEnded(event.sequence ?? 0)
    await replay.feed([event])
    turns.push(replay.told())
  }
  replay.discard()
  return turns
}

async function record(claimed: Claimed, events: readonly Event[]): Promise<object> {
  const prefixes: object[] = []
  for (let length = 1; length <= events.length; length++) {
    prefixes.push(await replayed(claimed, events.slice(0, length)))
  }
  return { prefixes, warm: await inMemory(claimed, events) }
}

async function main(): Promise<void> {
  const { log } = console
  const silent = () => {}
  setLogger({ debug: silent, info: silent, warn: silent, error: silent })
  installGuards()
  bearRejections()
  for await (const line of createInterface({ input: process.stdin })) {
    const { claimed, events } = JSON.parse(line)
    log(JSON.stringify(await record(claimed, events)))
  }
}

void main()
