/** Where workflow code runs, and how suspended code is forgotten: R10 and R11. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { all, race, timeout } from '../src/_combinators'
import { Evicted, NotDurableError } from '../src/_errors'
import { active, outside, storage } from '../src/_loop'
import { Replay } from '../src/_replay'
import {
  continueAsNew,
  getVersion,
  isReplaying,
  now,
  random,
  setState,
  sleep,
  uuid4,
  waitForSignal,
} from '../src/_workflow'
import { activity, bothWays, child, numbers, Story, step, workflow } from './story'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

const a = activity('l.a')
const AT = '2026-01-01T00:00:00Z'
const CLAIMED: any = { id: '018f0000-0000-7000-8000-000000000001', run: 1, name: 'w' }

/** Collects what can be; promises let go of what they held when the event loop has turned. */
async function collected(ref: WeakRef<object>): Promise<boolean> {
  for (const _ of numbers(50)) {
    gc()
    if (ref.deref() === undefined) return true
    await pause(1)
  }
  return false
}

function event(position: number, type: string, fields: object = {}): any {
  return { position, type, at: AT, ...fields }
}

// --- what is not durable ---

const FOREIGN: [name: string, wait: () => Promise<unknown>][] = [
  ['a promise that never settles', () => new Promise(() => {})],
  ['a timer of Node', () => pause(1)],
  ['a file', () => readFile(__filename)],
  ['a promise of before', () => once(process, 'nothing')],
]

for (const [name, wait] of FOREIGN) {
  // R11: in Node.
  test(`awaiting ${name} is an error and no hang`, async () => {
    const w = workflow(async () => {
      await a.run() // R11
      await wait()
    })
    const story = await (await Story.of(w)).complete(1)
    assert.equal(story.status, 'failed')
    assert.equal(story.error.type, 'NotDurableError')
    assert.match(
      story.error.message,
      /after its call at .*loop\.test\.ts:\d+, that nothing durable/,
    )
  })
}

bothWays('a promise that another workflow made is an error, with its cause', async (cold) => {
  let made: Promise<unknown> | undefined
  await Story.of(workflow(() => (made = sleep(1))))
  const memo = async () => await made
  const shared = memo()
  const awaiting = await Story.of(
    workflow(() => shared),
    cold,
  )
  assert.equal(awaiting.error.type, 'NotDurableError')
  assert.match(awaiting.error.message, /a promise that another workflow made, or that was made out/)
  const uses: [string, () => Promise<unknown>][] = [
    ['all', () => all([made as Promise<unknown>])],
    ['race', () => race({ made: made as Promise<unknown>, own: sleep(1) })],
    ['timeout', () => timeout(5, () => made)],
    ['from a function', () => all([() => made])],
  ]
  for (const [name, use] of uses) {
    const { error } = await Story.of(workflow(use), cold)
    assert.match(
      `${error.type}: ${error.message}`,
      /^NotDurable.* belongs to another workflow/,
      name,
    )
  }
})

for (const [name, wait] of FOREIGN.slice(1, 3)) {
  test(`code that goes on after ${name} cannot call the SDK, and its workflow fails`, async () => {
    const told: unknown[] = []
    const ended = withResolvers()
    const w = workflow(async () => {
      const stray = async () => {
        await wait()
        try {
          await a.run(2)
        } catch (error) {
          told.push(error)
        }
        ended.resolve(undefined)
      }
      await Promise.all([a.run(1), stray()])
    })
    const replay = new Replay(CLAIMED, w.definition)
    await replay.feed([event(1, 'started')])
    assert.equal(replay.turn().then, 'suspend')
    await ended.promise
    assert.ok(told[0] instanceof NotDurableError, `${told[0]}`)
    assert.match(`${told[0]}`, /something ended that is not durable/)
    await replay.feed([event(2, 'activity_scheduled', { sequence: 1, name: 'l.a' })])
    const turn = replay.turn()
    assert.deepEqual([turn.then, turn.error?.type], ['fail', 'NotDurableError'])
    assert.equal(turn.error?.non_retryable, true)
    replay.discard()
  })
}

test('a root that ends on account of a file fails, whatever it answers', async () => {
  const ended = withResolvers()
  const w = workflow(async () => {
    await Promise.race([a.run(), readFile(__filename)])
    setImmediate(() => ended.resolve(undefined))
    return 'read'
  })
  const replay = new Replay(CLAIMED, w.definition)
  await replay.feed([event(1, 'started')])
  await ended.promise
  assert.equal(replay.turn().error?.type, 'NotDurableError')
  replay.discard()
})

test('nothing runs of a workflow that the adapter has given up', async () => {
  const ran: string[] = []
  const w = workflow(async () => {
    await a.run()
    ran.push('went on')
  })
  const replay = new Replay(CLAIMED, w.definition)
  await replay.feed([event(1, 'started')])
  replay.fatal = new Error('its commands were refused')
  await replay.feed([
    event(2, 'activity_scheduled', { sequence: 1, name: 'l.a' }),
    event(3, 'activity_completed', { sequence: 1 }),
  ])
  assert.equal(replay.turn().error?.message, 'its commands were refused')
  assert.deepEqual(ran, [])
})

// --- order ---

bothWays('branches of any depth go on in the order of events', async (cold) => {
  const order: string[] = []
  const deep = async (n: number, name: string): Promise<void> => {
    if (n > 0) return await deep(n - 1, name)
    order.push(`${name} ${await a.run(name)}`)
    order.push(`${name} ${await a.run(name)}`)
  }
  const w = workflow(async () => {
    order.length = 0
    await Promise.all([deep(5, 'x'), deep(0, 'y'), deep(2, 'z')])
  })
  const story = await Story.of(w, cold)
  await story.completeAll([
    [3, 1],
    [1, 2],
    [2, 3],
  ])
  await story.completeAll([
    [6, 4],
    [5, 5],
    [4, 6],
  ])
  assert.deepEqual(order, ['z 1', 'x 2', 'y 3', 'y 4', 'x 5', 'z 6'])
  assert.deepEqual(
    story.commands.map(({ execution }) => (execution?.args as string[] | undefined)?.[0]),
    ['x', 'y', 'z', 'z', 'x', 'y'],
  )
  assert.equal(story.status, 'completed')
  await story.checkPrefixes()
})

bothWays('for await over an async generator works', async (cold) => {
  async function* results() {
    for (const n of numbers(3)) yield await a.run(n)
  }
  const w = workflow(async () => {
    const found: number[] = []
    for await (const each of results()) {
      found.push(each)
      if (found.length === 2) break
    }
    for await (const each of [a.run(7), a.run(8)]) found.push(each)
    return found
  })
  const story = await (await (await Story.of(w, cold)).complete(1, 1)).complete(2, 2)
  await story.completeAll([
    [4, 4],
    [3, 3],
  ])
  assert.deepEqual(story.result, [1, 2, 3, 4])
  await story.checkPrefixes()
})

bothWays('then, catch and finally of calls work', async (cold) => {
  const w = workflow(() =>
    a
      .run(1)
      .then((found) => a.run(found))
      .catch((error) => error.message)
      .finally(() => sleep(1)),
  )
  const story = await (await (await Story.of(w, cold)).complete(1, 5)).fail(2, 'E', 'no')
  assert.equal((await story.later(2)).result, 'no')
})

test('an event does not come before the code has waited for the one before', async () => {
  const seen: string[] = []
  const w = workflow(async () => {
    const calls = [a.run(1), a.run(2)]
    for (const [n, call] of calls.entries()) {
      seen.push(`${n} ${await call} at ${now().getUTCMilliseconds()}`)
      for (const _ of numbers(100)) await null
    }
  })
  const replay = new Replay(CLAIMED, w.definition)
  await replay.feed([
    event(1, 'started'),
    event(2, 'activity_scheduled', { sequence: 1, name: 'l.a' }),
    event(3, 'activity_scheduled', { sequence: 2, name: 'l.a' }),
    event(4, 'activity_completed', { sequence: 2, payload: 'b', at: '2026-01-01T00:00:00.004Z' }),
    event(5, 'activity_completed', { sequence: 1, payload: 'a', at: '2026-01-01T00:00:00.005Z' }),
  ])
  assert.deepEqual(seen, ['0 a at 5', '1 b at 5'])
  assert.equal(replay.turn().then, 'complete')
})

test('nothing runs after the root is done, and nothing is asked for', async () => {
  const ran: string[] = []
  const w = workflow(async () => {
    const background = async () => {
      try {
        for (const n of numbers(100)) {
          await null
          if (n > 20) {
            ran.push('called')
            await a.run(n)
            ran.push('went on')
          }
        }
      } finally {
        ran.push('finally')
      }
    }
    void background()
    await null
    return 'done'
  })
  const story = await Story.of(w)
  assert.equal(story.result, 'done')
  assert.deepEqual(ran, ['called'], 'its call gets a promise that never settles')
  assert.deepEqual(story.commands, [])
})

test('a long replay lets the event loop have its turns', async () => {
  const w = workflow(async () => {
    for (const _ of numbers(3000)) await a.run()
  })
  const events = [event(1, 'started')]
  for (let sequence = 1; sequence <= 3000; sequence++) {
    events.push(event(2 * sequence, 'activity_scheduled', { sequence, name: 'l.a' }))
    events.push(event(2 * sequence + 1, 'activity_completed', { sequence }))
  }
  let turns = 0
  let timer = setImmediate(function turn() {
    turns += 1
    timer = setImmediate(turn)
  })
  const replay = new Replay(CLAIMED, w.definition)
  await replay.feed(events)
  clearImmediate(timer)
  assert.equal(replay.turn().then, 'complete')
  assert.ok(turns > 2, `${turns} turns`)
  assert.ok(replay.longest < 500, `${replay.longest} ms`)
})

// --- whose code it is ---

test('workflows that are stepped in turns do not see each other', async () => {
  const seen: Record<string, string[]> = { one: [], other: [] }
  const code = (name: string) =>
    workflow(async () => {
      for (const _ of numbers(50)) {
        await a.run(name)
        await null
        seen[name]?.push(active()?.claimed.id ?? 'nobody')
      }
    })
  const events = [event(1, 'started')]
  for (let sequence = 1; sequence <= 50; sequence++) {
    events.push(event(2 * sequence, 'activity_scheduled', { sequence, name: 'l.a' }))
    events.push(event(2 * sequence + 1, 'activity_completed', { sequence }))
  }
  const replays = ['one', 'other'].map(
    (id) => new Replay({ ...CLAIMED, id: `${id}-018f00000001` }, code(id).definition),
  )
  await Promise.all(replays.map((replay) => replay.feed(events)))
  for (const replay of replays) assert.equal(replay.turn().then, 'complete')
  for (const [name, ids] of Object.entries(seen)) {
    assert.deepEqual(new Set(ids), new Set([`${name}-018f00000001`]))
  }
  assert.equal(active(), undefined)
})

test('what is called outside is outside, and code that feeds from inside is not mixed up', async () => {
  const w = workflow(async () => {
    const found = [active() !== undefined, outside(() => active() !== undefined)]
    await a.run()
    return [...found, active() !== undefined]
  })
  assert.deepEqual((await (await Story.of(w)).complete(1)).result, [true, false, true])
})

test('steps run outside', async () => {
  const s = step('s', () => outside(() => String(storage.getStore())))
  const w = workflow(() => s.run())
  assert.equal((await Story.of(w)).result, 'undefined')
})

test('outside workflows the clock and chance are the ordinary ones', async () => {
  assert.ok(Math.abs(now().getTime() - Date.now()) < 1000)
  assert.notEqual(uuid4(), uuid4())
  assert.ok(random() < 1)
  assert.equal(isReplaying(), false)
  await sleep(0.001)
})

// --- R10 ---

const ran: string[] = []

async function* guardedNumbers() {
  try {
    for (const n of numbers(9)) yield await a.run(n)
  } finally {
    ran.push('async generator')
  }
}

const guarded = workflow(async () => {
  const inner = async () => {
    try {
      await timeout(100, async () => {
        for await (const _ of guardedNumbers()) ran.length = 0
      })
    } catch {
      ran.push('catch')
    } finally {
      ran.push('finally')
      await a.run(99)
    }
  }
  try {
    await all([inner, () => race({ one: sleep(50), other: () => waitForSignal('s') })])
  } catch (error) {
    ran.push('catch')
    throw error
  } finally {
    ran.push('finally')
  }
})

// R10: in Node.
bothWays('suspending and discarding never run the code of the user', async (cold) => {
  ran.length = 0
  const story = await (await Story.of(guarded, cold)).complete(2)
  assert.equal(story.status, 'suspended')
  const held = new WeakRef(story.replay as Replay)
  story.crash()
  assert.ok(await collected(held), 'a discarded workflow is garbage')
  assert.deepEqual(ran, [])
})

test('discarding frees what the code held', async () => {
  let held: WeakRef<object> | undefined
  const w = workflow(async () => {
    const object = { large: new Array(1000) }
    held = new WeakRef(object)
    await a.run()
    return object.large.length
  })
  const story = await Story.of(w, { cold: false })
  gc()
  assert.ok(held?.deref(), 'a suspended workflow keeps it')
  story.crash()
  assert.ok(await collected(held as WeakRef<object>))
})

test('code that runs after a discard all the same can do nothing', async () => {
  const seen: string[] = []
  const ended = withResolvers()
  const w = workflow(async () => {
    const stray = async () => {
      await pause(1)
      const uses = [
        () => a.run(),
        () => child().queue(1),
        () => sleep(1),
        () => waitForSignal('s'),
        () => continueAsNew(),
        now,
        uuid4,
        () => setState(1),
        () => getVersion('c', 1, 2),
      ]
      for (const use of uses) {
        try {
          await use()
          seen.push('taken')
        } catch (error) {
          seen.push(error instanceof Evicted ? 'evicted' : `${error}`)
        }
      }
      ended.resolve(undefined)
    }
    await Promise.all([stray(), a.run()])
  })
  const story = await Story.of(w)
  story.crash()
  await ended.promise
  assert.deepEqual(seen, new Array(9).fill('evicted'))
  assert.equal(story.row.events.length, 2)
})

test('a discard while the replay goes on ends it', async () => {
  const w = workflow(async () => {
    for (const _ of numbers(100)) await a.run()
  })
  const replay = new Replay(CLAIMED, w.definition)
  const events = [event(1, 'started')]
  for (let sequence = 1; sequence <= 100; sequence++) {
    events.push(event(2 * sequence, 'activity_scheduled', { sequence, name: 'l.a' }))
    events.push(event(2 * sequence + 1, 'activity_completed', { sequence }))
  }
  const fed = replay.feed(events)
  await null
  replay.discard()
  await fed
  const { then, commands, steps } = replay.turn()
  assert.deepEqual({ then, commands, steps }, { then: 'suspend', commands: [], steps: [] })
})

function withResolvers() {
  let resolve!: (value: unknown) => void
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
