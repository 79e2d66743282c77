/** Ten thousand events replay in well under a second, and twice as many in twice the time. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all, allSettled, race } from '../src/_combinators'
import type { Fn } from '../src/_functions'
import type { Event } from '../src/_operations'
import { Replay } from '../src/_replay'
import { sleep, waitForSignal } from '../src/_workflow'
import { activity, numbers, workflow } from './story'

const EVENTS = 10_000
// Measured: 0.05 to 0.2 s of CPU on an idle machine, a few times that on a crowded one.
const MOST_SECONDS = 1

const a = activity('long.a')

/** A history that is written down, and not lived. */
class Events extends Array<Event> {
  happened(type: string, sequence?: number, fields: Partial<Event> = {}): void {
    const at = new Date(Date.UTC(2026, 0, 1) + 10 * this.length).toISOString()
    const event = { position: this.length + 1, type, at, ...fields } as Event
    if (sequence !== undefined) event.sequence = sequence
    this.push(event)
  }

  started(): void {
    this.happened('started', undefined, { payload: {} })
  }

  scheduled(sequence: number): void {
    this.happened('activity_scheduled', sequence, { name: 'long.a', payload: { id: 'x' } })
  }

  completed(sequence: number): void {
    this.happened('activity_completed', sequence, { name: 'long.a', payload: 1 })
  }

  timerStarted(sequence: number): void {
    this.happened('timer_started', sequence, { name: 'sleep', payload: { delay_ms: 1000 } })
  }

  signalled(): void {
    this.happened('signal_received', undefined, { name: 'x', payload: 1 })
  }
}

type Case = readonly [
  name: string,
  code: (size: number) => Promise<unknown>,
  write: (events: Events, size: number) => void,
]

function ofAllAtOnce(events: Events, size: number): void {
  const calls = Math.floor(size / 3)
  events.started()
  for (let sequence = 1; sequence <= calls; sequence++) events.scheduled(sequence)
  for (let sequence = calls; sequence >= 1; sequence--) {
    events.completed(sequence)
    events.signalled()
  }
}

function ofSignals(events: Events, size: number): void {
  for (const _ of numbers(size / 4)) events.signalled()
  events.started()
  for (const _ of numbers(size - size / 4)) events.signalled()
}

function ofSleepsAtOnce(events: Events, size: number): void {
  events.started()
  for (let sequence = 1; sequence <= size / 2; sequence++) events.timerStarted(sequence)
  for (let sequence = 1; sequence <= size / 2; sequence++) events.happened('timer_fired', sequence)
}

const CASES: readonly Case[] = [
  [
    'one after another',
    async (size) => {
      let sum = 0
      for (const n of numbers(size / 2)) sum += await a.run(n)
      return sum
    },
    (events, size) => {
      events.started()
      for (let sequence = 1; sequence <= size / 2; sequence++) {
        events.scheduled(sequence)
        events.completed(sequence)
      }
    },
  ],
  ['all at once', (size) => all(numbers(Math.floor(size / 3)).map((n) => a.run(n))), ofAllAtOnce],
  [
    'in branches',
    (size) => all(numbers(Math.floor(size / 3)).map((n) => async () => await a.run(n))),
    ofAllAtOnce,
  ],
  [
    'signal after signal',
    async (size) => {
      for (const _ of numbers(size / 2)) await waitForSignal('x')
    },
    ofSignals,
  ],
  [
    'signals at once',
    (size) => Promise.all(numbers(size / 2).map(() => waitForSignal('x'))),
    ofSignals,
  ],
  [
    'signals given up',
    async (size) => {
      const waits = async () => {
        await allSettled(numbers(size / 2).map(() => waitForSignal('x')))
      }
      return (await race({ waits, call: a.run() }))[0]
    },
    (events, size) => {
      events.started()
      events.scheduled(1)
      events.completed(1)
      for (const _ of numbers(size)) events.signalled()
    },
  ],
  [
    'sleep after sleep',
    async (size) => {
      for (const _ of numbers(size / 2)) await sleep(1)
    },
    (events, size) => {
      events.started()
      for (let sequence = 1; sequence <= size / 2; sequence++) {
        events.timerStarted(sequence)
        events.happened('timer_fired', sequence)
      }
    },
  ],
  ['sleeps at once', (size) => Promise.all(numbers(size / 2).map(() => sleep(1))), ofSleepsAtOnce],
  [
    'races',
    async (size) => {
      for (const n of numbers(size / 4)) await race({ work: a.run(n), late: () => sleep(60) })
    },
    (events, size) => {
      events.started()
      for (let sequence = 1; sequence <= size / 2; sequence += 2) {
        events.scheduled(sequence)
        events.timerStarted(sequence + 1)
        events.completed(sequence)
        events.happened('timer_cancelled', sequence + 1)
      }
    },
  ],
  [
    'taken back',
    async (size) => {
      const calls = () => all(numbers(size / 2).map((n) => a.run(n)))
      const [name] = await race({ now: Promise.resolve(1), calls })
      assert.equal(name, 'now')
      return name
    },
    (events) => events.started(),
  ],
]

/** The CPU time that a replay takes, the best of three, in seconds. */
async function seconds(fn: Fn, events: Events, size: number): Promise<number> {
  const claimed: any = { id: '018f0000-0000-7000-8000-000000000001', run: 1, queue: 'default' }
  const took: number[] = []
  for (const _ of numbers(3)) {
    const began = process.cpuUsage()
    const replay = new Replay({ ...claimed, name: 'w', args: [size] }, fn.definition)
    await replay.feed(events)
    const turn = replay.turn()
    const { user, system } = process.cpuUsage(began)
    took.push((user + system) / 1e6)
    assert.equal(turn.then, 'complete', turn.message || JSON.stringify(turn.error))
    replay.discard()
  }
  return Math.min(...took)
}

for (const [name, code, write] of CASES) {
  test(`a long history replays quickly, and in proportion to its length: ${name}`, async (t) => {
    const fn = workflow(async (size: number) => {
      await code(size)
      return size
    })
    const took = new Map<number, number>()
    for (const size of [EVENTS / 2, EVENTS, 2 * EVENTS]) {
      const events = new Events()
      write(events, size)
      took.set(size, await seconds(fn, events, size))
    }
    const figures = [...took]
      .map(([size, each]) => `${size} events ${each.toFixed(3)} s`)
      .join(', ')
    t.diagnostic(figures)
    const [half = 0, whole = 0, twice = 0] = took.values()
    assert.ok(whole < MOST_SECONDS, figures)
    // Four times as long: in proportion 4, by the square 16.
    assert.ok(twice < 9 * Math.max(half, 0.02), figures)
  })
}
