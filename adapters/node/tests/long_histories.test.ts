/** Ten thousand events replay in well under a second, and twice as many in twice the time. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all, allSettled, race, wait } from '../src/_combinators'
import { activity, type Fn, workflow } from '../src/_functions'
import type { Claimed, Event } from '../src/_operations'
import { Replay } from '../src/_replay'
import { sleep, waitForSignal } from '../src/_workflow'

const EVENTS = 10_000
// Measured: 0.03 to 0.2 s of CPU on an idle machine, a few times that on a crowded one.
const MOST_SECONDS = 1

/** A history that is written down, and not lived. */
class Events extends Array<Event> {
  happened(type: Event['type'], sequence?: number, fields: Partial<Event> = {}): void {
    const at = new Date(Date.UTC(2026, 0, 1) + 10 * this.length).toISOString()
    const numbered = sequence === undefined ? {} : { sequence }
    this.push({ position: this.length + 1, type, at, ...numbered, ...fields })
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

const a = activity('long.a', async (_x: number): Promise<number> => 0)
const numbers = (size: number) => Array.from({ length: Math.floor(size) }, (_, n) => n + 1)
const sum = (found: readonly number[]) => found.reduce((total, each) => total + each, 0)

interface Case {
  readonly code: (size: number) => Promise<unknown>
  readonly write: (events: Events, size: number) => void
}

function callsAndEnds(events: Events, size: number): void {
  events.started()
  for (const sequence of numbers(size / 3)) events.scheduled(sequence)
  for (const sequence of numbers(size / 3).reverse()) {
    events.completed(sequence)
    events.signalled()
  }
}

function signals(events: Events, size: number): void {
  for (const _ of numbers(size / 4)) events.signalled()
  events.started()
  for (const _ of numbers(size - size / 4)) events.signalled()
}

const CASES: Record<string, Case> = {
  'one after another': {
    code: async (size) => {
      let total = 0
      for (const n of numbers(size / 2)) total += await a.run(n)
      return total
    },
    write: (events, size) => {
      events.started()
      for (const sequence of numbers(size / 2)) {
        events.scheduled(sequence)
        events.completed(sequence)
      }
    },
  },
  'all at once': {
    code: async (size) => sum(await all(numbers(size / 3).map((n) => a.run(n)))),
    write: callsAndEnds,
  },
  'all at once by Promise.all': {
    code: async (size) => sum(await Promise.all(numbers(size / 3).map((n) => a.run(n)))),
    write: callsAndEnds,
  },
  'all settled': {
    code: async (size) => (await allSettled(numbers(size / 3).map((n) => a.run(n)))).length,
    write: callsAndEnds,
  },
  'in functions of their own': {
    code: async (size) => sum(await all(numbers(size / 3).map((n) => async () => await a.run(n)))),
    write: callsAndEnds,
  },
  'signal after signal': {
    code: async (size) => {
      let total = 0
      for (const _ of numbers(size / 2)) total += await waitForSignal<number>('x')
      return total
    },
    write: signals,
  },
  'signals at once': {
    code: async (size) => sum(await Promise.all(numbers(size / 2).map(() => waitForSignal('x')))),
    write: signals,
  },
  'sleep after sleep': {
    code: async (size) => {
      for (const _ of numbers(size / 2)) await sleep(1)
    },
    write: (events, size) => {
      events.started()
      for (const sequence of numbers(size / 2)) {
        events.timerStarted(sequence)
        events.happened('timer_fired', sequence)
      }
    },
  },
  'sleeps at once': {
    code: async (size) => (await Promise.all(numbers(size / 2).map(() => sleep(1)))).length,
    write: (events, size) => {
      events.started()
      for (const sequence of numbers(size / 2)) events.timerStarted(sequence)
      for (const sequence of numbers(size / 2)) events.happened('timer_fired', sequence)
    },
  },
  races: {
    code: async (size) => {
      for (const n of numbers(size / 4)) await race({ work: a.run(n), late: sleep(60) })
    },
    write: (events, size) => {
      events.started()
      for (const n of numbers(size / 4)) {
        events.scheduled(2 * n - 1)
        events.timerStarted(2 * n)
        events.completed(2 * n - 1)
        events.happened('timer_cancelled', 2 * n)
      }
    },
  },
  'one wait for many': {
    code: async (size) => (await wait(numbers(size / 3).map((n) => a.run(n))))[0].length,
    write: callsAndEnds,
  },
}

/** The CPU time that a replay takes, the best of three. */
async function seconds(fn: Fn, events: Events, size: number): Promise<number> {
  const claimed = {
    id: '018f0000-0000-7000-8000-000000000001',
    run: 1,
    queue: 'default',
    name: fn.functionName,
    args: [size],
    kwargs: {},
  } as unknown as Claimed
  let best = Number.POSITIVE_INFINITY
  for (let go = 0; go < 3; go++) {
    const began = process.cpuUsage()
    const replay = new Replay(claimed, fn.definition)
    await replay.feed(events)
    const turn = replay.turn()
    const { user, system } = process.cpuUsage(began)
    assert.equal(turn.then, 'complete', turn.message || JSON.stringify(turn.error))
    replay.discard()
    best = Math.min(best, (user + system) / 1e6)
  }
  return best
}

/** Half as many events, as many, and twice as many: what each takes. */
async function measured(fn: Fn, write: Case['write']): Promise<[number, number, number]> {
  const took: [number, number, number] = [0, 0, 0]
  for (const [index, size] of [EVENTS / 2, EVENTS, 2 * EVENTS].entries()) {
    const events = new Events()
    write(events, size)
    took[index] = await seconds(fn, events, size)
  }
  return took
}

for (const [name, { code, write }] of Object.entries(CASES)) {
  test(`a long history replays quickly and in proportion to its length: ${name}`, async (t) => {
    const fn = workflow(`long ${name}`, code) as Fn
    for (let go = 1; ; go++) {
      const took = await measured(fn, write)
      const figures = took.map((found) => `${found.toFixed(3)} s`).join(', ')
      t.diagnostic(`${EVENTS / 2}, ${EVENTS} and ${2 * EVENTS} events: ${figures}`)
      const [half, whole, double] = took
      // Four times as long: in proportion 4, by the square 16.
      if (whole < MOST_SECONDS && double < 9 * Math.max(half, 0.01)) return
      // On a busy machine the collector's own threads can take as long as all the rest, once.
      assert.ok(go < 3, figures)
    }
  })
}

test('a long replay lets the event loop have its turn again and again', async () => {
  const { code, write } = CASES['one after another'] as Case
  const fn = workflow('long and patient', code)
  const events = new Events()
  write(events, 4 * EVENTS)
  let turns = 0
  const timer = setInterval(() => {
    turns += 1
  }, 1)
  const took = await seconds(fn as Fn, events, 4 * EVENTS)
  clearInterval(timer)
  assert.ok(turns >= 3, `${turns} turns in ${took.toFixed(3)} s and more`)
})
