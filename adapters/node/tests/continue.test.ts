/** Continue-as-new: what the adapter asks for. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Turn } from '../src/_calls'
import { all } from '../src/_combinators'
import type { Fn } from '../src/_functions'
import { Replay } from '../src/_replay'
import {
  continueAsNew,
  getState,
  setState,
  sleep,
  waitForSignal,
  workflowInfo,
} from '../src/_workflow'
import { activity, bothWays, numbers, Story, workflow } from './story'

const AT = '2026-01-01T00:00:00Z'
const ID = '018f0000-0000-7000-8000-000000000001'
const ABOUT = { id: ID, root_id: ID, run: 1, name: 'w', queue: 'default' }
const STARTED = { type: 'started' }
const CANCELLED = { type: 'cancel_requested' }
const a = activity('co.a')

/** Runs a workflow on a history and answers what it asks for. */
async function replayed(fn: Fn, events: object[], claimed: object = {}): Promise<Turn> {
  const replay = new Replay({ ...ABOUT, ...claimed } as any, fn.definition)
  await replay.feed(events.map((event, n) => ({ position: n + 1, at: AT, ...event })) as any)
  const turn = replay.turn()
  replay.discard()
  return turn
}

function signal(name: string, payload: unknown) {
  return { type: 'signal_received', name, payload }
}

test('it takes the arguments and the signals that nobody took', async () => {
  const w = workflow(async (n: number) => {
    await waitForSignal('a')
    await continueAsNew(n + 1, { limit: 3 })
  })
  const events = [signal('b', 1), STARTED, signal('a', 2), signal('a', 3)]
  const turn = await replayed(w, events, { args: [1] })
  assert.equal(turn.then, 'continue')
  assert.deepEqual(turn.nextRun, { args: [2, { limit: 3 }], kwargs: {}, carry: [1, 4] })
})

test('what was asked for before goes with it, and what comes after does not', async () => {
  const w = workflow(async () => {
    setState('so far')
    const ended = continueAsNew()
    setState('later')
    void a.run()
    await ended
  })
  const turn = await replayed(w, [STARTED])
  assert.deepEqual(
    turn.commands.map(({ type, state }) => [type, state]),
    [['set_state', 'so far']],
  )
})

test('no catch and no finally keeps it', async () => {
  const ran: string[] = []
  const w = workflow(async () => {
    try {
      await continueAsNew()
    } catch {
      ran.push('catch')
    } finally {
      ran.push('finally')
    }
    return 'kept'
  })
  assert.equal((await replayed(w, [STARTED])).then, 'continue')
  assert.deepEqual(ran, [])
})

test('it ends the run although the code goes on and returns', async () => {
  const w = workflow(async () => {
    void continueAsNew(7)
    return 'returned'
  })
  const turn = await replayed(w, [STARTED])
  assert.deepEqual([turn.then, turn.nextRun?.args], ['continue', [7]])
})

test('it gets out of branches', async () => {
  const w = workflow(() => all([() => continueAsNew(2), sleep(5)]))
  const turn = await replayed(w, [STARTED])
  assert.deepEqual([turn.then, turn.nextRun?.args], ['continue', [2]])
})

test('arguments that are not JSON are refused where it is called', async () => {
  const w = workflow(async () => {
    try {
      await continueAsNew(new Map())
    } catch (error) {
      return (error as Error).name
    }
    return ''
  })
  const turn = await replayed(w, [STARTED])
  assert.deepEqual([turn.then, turn.result], ['complete', 'PayloadError'])
})

test('history that goes on where the code continues does not fit', async () => {
  const w = workflow(() => continueAsNew())
  const more = { type: 'timer_started', sequence: 1, name: 'sleep' }
  assert.equal((await replayed(w, [STARTED, more])).then, 'park')
})

test('it belongs into a workflow', () => {
  assert.throws(() => continueAsNew(), /only works in the code of a workflow/)
  assert.throws(() => workflowInfo(), /only works in the code of a workflow/)
  assert.throws(() => setState(1), /only works in the code of a workflow/)
  assert.throws(() => waitForSignal('s'), /only works in the code of a workflow/)
})

test('a cancel from before the start runs none of the code', async () => {
  const ran: string[] = []
  const w = workflow(() => ran.push('began'))
  const turn = await replayed(w, [CANCELLED, STARTED])
  assert.deepEqual([turn.then, turn.error?.type, ran], ['fail', 'CancelledError', []])
})

for (const [length, suggested] of [
  [19, false],
  [20, true],
] as const) {
  test(`a history of ${length} of 100 events ${suggested ? 'suggests' : 'does not suggest'} it`, async () => {
    const w = workflow(async () => {
      await waitForSignal('go')
      return [workflowInfo().historyLength, workflowInfo().continueAsNewSuggested]
    })
    const fill = numbers(length - 2).map((n) => signal('other', n))
    const turn = await replayed(w, [STARTED, ...fill, signal('go', 1)], { max_history: 100 })
    assert.deepEqual(turn.result, [length, suggested])
  })
}

test('workflowInfo tells which workflow it is', async () => {
  const w = workflow(() => ({ ...workflowInfo() }) as any)
  const turn = await replayed(w, [STARTED], { parent_id: 'p', run: 3 })
  assert.deepEqual(turn.result, {
    id: ID,
    run: 3,
    name: 'w',
    queue: 'default',
    parentId: 'p',
    rootId: ID,
    historyLength: 1,
    continueAsNewSuggested: false,
  })
})

test('the state of another is not read in workflow code', async () => {
  const turn = await replayed(
    workflow(() => getState('e2')),
    [STARTED],
  )
  assert.equal(turn.error?.type, 'NotDurableError')
})

test('what comes after the end of the code asks for nothing', async () => {
  // A signal for a wait that was given up would cancel its timer once more.
  const w = workflow(async () => {
    void waitForSignal('s', { timeout: 60 })
    await waitForSignal('end')
    return 'over'
  })
  const timer = { type: 'timer_started', sequence: 1, name: 'signal s' }
  const turn = await replayed(w, [STARTED, timer, signal('end', 1), signal('s', 2)])
  assert.deepEqual([turn.then, turn.commands, turn.result], ['complete', [], 'over'])
})

bothWays('the next run begins with an empty history and its own arguments', async (cold) => {
  const w = workflow(async (n: number) => {
    await a.run(n)
    return n < 3 ? await continueAsNew(n + 1) : n
  })
  const story = await Story.of(w, { ...cold, args: [1] })
  for (const run of [1, 2, 3]) {
    assert.equal(story.row.run, run)
    await story.complete(1)
  }
  assert.equal(story.result, 3)
})

bothWays('signals that nobody took are there in the next run, in order', async (cold) => {
  const w = workflow(async (n: number): Promise<unknown> => {
    if (n === 0) {
      await waitForSignal('go')
      return await continueAsNew(1)
    }
    return [await waitForSignal('s'), await waitForSignal('s')]
  })
  const story = await Story.of(w, { ...cold, args: [0] })
  await story.signal('s', 1)
  await story.signal('s', 2)
  assert.deepEqual((await story.signal('go')).result, [1, 2])
})
