/** Replay and determinism: R1 to R16 of the behaviours. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all } from '../src/_combinators'
import { ActivityError, ChildError, ChildFailed, StepError } from '../src/_outcomes'
import { Replay } from '../src/_replay'
import {
  isReplaying,
  now,
  random,
  sendSignal,
  setState,
  sleep,
  uuid4,
  waitForSignal,
} from '../src/_workflow'
import { activity, bothWays, child as childOf, job, numbers, Story, step, workflow } from './story'

const a = activity('a')
const b = activity('b')
const child = childOf()
const j = job('j', { queue: 'jobs' })

bothWays('a workflow without waits completes in its first activation', async (cold) => {
  const w = workflow(async (x: number) => x + 1)
  assert.equal((await Story.of(w, { ...cold, args: [41] })).result, 42)
})

test('a workflow written as a plain function works too', async () => {
  const w = workflow((x: number) => x + 1)
  assert.equal((await Story.of(w, { args: [41] })).result, 42)
})

test('a plain function that throws fails its workflow', async () => {
  const w = workflow(() => {
    throw new RangeError('no')
  })
  assert.equal((await Story.of(w)).error.type, 'RangeError')
})

bothWays('awaited activities run one after another', async (cold) => {
  const w = workflow(async () => {
    const found: number[] = []
    for (const n of numbers(5)) found.push(await a.run(n))
    return found
  })
  const story = await Story.of(w, cold)
  for (let sequence = 1; sequence <= 5; sequence++) {
    assert.equal(story.status, 'suspended')
    assert.deepEqual(story.child(sequence).args, [sequence - 1])
    await story.crash().complete(sequence, sequence * 10)
  }
  assert.deepEqual(story.result, [10, 20, 30, 40, 50])
  assert.equal(story.commands.length, 5, 'no command is given twice') // R1
  await story.checkPrefixes()
})

test('an activity inherits the queue of its workflow unless it has one', async () => {
  const w = workflow(
    async () => {
      await all([a.run(), j.run(1), a.options({ queue: 'slow' }).run()])
    },
    { queue: 'orders' },
  )
  const { commands } = await Story.of(w)
  assert.deepEqual(
    commands.map(({ execution }) => [execution?.queue, execution?.kind]),
    [
      ['orders', 'activity'],
      ['jobs', 'job'],
      ['slow', 'activity'],
    ],
  )
})

test('arguments are kept as they were at the call', async () => {
  const w = workflow(async () => {
    const xs = [1]
    const call = a.run(xs)
    xs.push(2)
    await call
  })
  assert.deepEqual((await Story.of(w)).commands[0]?.execution?.args, [[1]])
})

test('what a step does to its arguments does not reach the workflow', async () => {
  const grow = step('grow', (xs: number[]) => xs.push(9))
  const w = workflow(async () => {
    const xs = [1]
    const call = grow.run(xs)
    xs.push(2)
    return [await call, xs]
  })
  assert.deepEqual((await Story.of(w)).result, [2, [1, 2]])
})

test('swapped activities park the workflow and the old code lets it finish', async () => {
  const before = workflow(async () => (await a.run()) + (await b.run())) // R2
  const after = workflow(async () => (await b.run()) + (await a.run()))
  const story = await (await Story.of(before)).complete(1, 1)
  const commands = story.commands.length
  await story.deploy(after).complete(2, 2)
  assert.equal(story.status, 'suspended')
  assert.equal(story.row.released, 'non_determinism')
  for (const part of ['position 2', "the activity 'a'", "the activity 'b'", 'getVersion']) {
    assert.ok(story.row.parked?.includes(part), story.row.parked)
  }
  assert.equal(story.commands.length, commands, 'nothing new is scheduled')
  assert.equal((await story.resume(before)).result, 3)
})

test('another kind under the same name is non-determinism', async () => {
  const old = workflow(() => sleep(5)) // R3
  const notATimer = activity('sleep')
  const story = await (await Story.of(old)).deploy(workflow(() => notATimer.run())).later(6)
  assert.match(story.row.parked ?? '', /the timer 'sleep'/)
  assert.match(story.row.parked ?? '', /the activity 'sleep'/)
})

test('code that ends before its history does is parked', async () => {
  const old = workflow(async () => {
    await a.run() // R4
    await b.run()
  })
  const story = await (await Story.of(old)).complete(1)
  await story.deploy(workflow(() => a.run())).complete(2)
  assert.equal(story.row.released, 'non_determinism')
  assert.match(story.row.parked ?? '', /nothing, it ended/)
})

test('code that waits where history went on is parked', async () => {
  const old = workflow(() => all([a.run(), b.run()])) // R4
  const changed = workflow(async () => {
    await a.run()
    await b.run()
  })
  const story = await (await Story.of(old)).deploy(changed).complete(2)
  assert.match(story.row.parked ?? '', /nothing, it waits at .*replay\.test\.ts:/)
  assert.match(story.row.parked ?? '', /the activity 'b'/)
})

test('user code is not told of non-determinism', async () => {
  const ran: string[] = []
  const changed = workflow(async () => {
    try {
      await b.run()
    } catch (error) {
      ran.push('catch')
      throw error
    } finally {
      ran.push('finally')
    }
  })
  const story = await (await Story.of(workflow(() => a.run()))).deploy(changed).complete(1)
  assert.ok(story.row.parked)
  assert.deepEqual(ran, [])
})

test('time and chance are the same on every replay', async () => {
  const seen: unknown[][] = [] // R9
  const w = workflow(async () => {
    const mine: unknown[] = [now(), uuid4(), uuid4(), random(), random()]
    seen.push(mine)
    await a.run()
    mine.push(now(), uuid4(), random())
    await a.run()
  })
  await (await (await Story.of(w)).complete(1)).complete(2)
  const values = seen[2] as any[]
  assert.deepEqual(seen[1], values)
  assert.deepEqual(values.slice(0, 5), seen[0]?.slice(0, 5))
  assert.equal(new Set(values.map(String)).size, values.length - 1, 'two dates within a second')
  assert.ok(values[5] > values[0])
  assert.match(values[1], /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.ok(values[3] >= 0 && values[3] < 1)
})

test('time and chance survive a retry', async () => {
  const seen: unknown[][] = []
  const w = workflow(async () => {
    seen.push([uuid4(), random(), now()])
    await a.run()
  })
  const story = await (await Story.of(w)).fail(1)
  assert.equal(story.status, 'failed')
  assert.equal(story.error.sequence, 1)
  await story.retry()
  assert.equal(story.status, 'suspended', 'the failed activity is asked for anew') // O9
  assert.equal((await story.complete(1, 5)).status, 'completed')
  for (const each of seen) assert.deepEqual(each, seen[0])
})

test('isReplaying is true for recorded steps and false from the first new one', async () => {
  const seen: boolean[] = [] // R12
  const w = workflow(async () => {
    for (const _ of numbers(3)) {
      seen.push(isReplaying())
      await a.run()
    }
  })
  const story = await Story.of(w)
  assert.deepEqual(seen.splice(0), [false])
  await story.complete(1)
  assert.deepEqual(seen.splice(0), [true, false])
  await story.complete(2)
  assert.deepEqual(seen, [true, true, false])
})

test('a workflow that stays in memory is never replaying', async () => {
  const seen: boolean[] = [] // R12
  const w = workflow(async () => {
    for (const _ of numbers(3)) {
      seen.push(isReplaying())
      await a.run()
    }
    await waitForSignal('s')
    seen.push(isReplaying())
  })
  const story = await Story.of(w, { cold: false })
  for (const sequence of [1, 2, 3]) await story.complete(sequence)
  await story.signal('s')
  assert.deepEqual(seen, [false, false, false, false])
})

bothWays('an activity that is never awaited does not keep the workflow', async (cold) => {
  const w = workflow(async () => {
    void a.run() // R16
    return 'done'
  })
  const story = await Story.of(w, cold)
  assert.equal(story.result, 'done')
  assert.equal(story.child(1).status, 'cancelled')
})

bothWays('a failed activity is thrown at the await', async (cold) => {
  const w = workflow(async () => {
    try {
      await a.run() // C8
    } catch (error) {
      if (error instanceof ActivityError) return `${error.type} ${error.message} ${error.attempts}`
    }
    return ''
  })
  const story = await (await Story.of(w, cold)).fail(1, 'CardDeclined', 'no funds', 3)
  assert.equal(story.result, 'CardDeclined no funds 3')
})

test('an uncaught failure has its cause and its sequence', async () => {
  const w = workflow(async () => {
    await b.run()
    try {
      await a.run()
    } catch (error) {
      throw new Error('order failed', { cause: error })
    }
  })
  const story = await (await (await Story.of(w)).complete(1)).fail(2, 'CardDeclined', 'no funds')
  assert.equal(story.error.type, 'Error')
  assert.equal(story.error.cause.cause.type, 'CardDeclined')
  assert.equal(story.error.sequence, 2)
})

test('an error that names no cause is blamed on the failure on which it was thrown', async () => {
  const w = workflow(async () => {
    await b.run()
    await a.run().catch(() => {
      throw new Error('order failed')
    })
  })
  const story = await (await (await Story.of(w)).complete(1)).fail(2)
  assert.equal(story.error.sequence, 2)
})

test('an error is not blamed on a failure that the code got over before', async () => {
  const w = workflow(async () => {
    await a.run().catch(() => {})
    await b.run()
    throw new Error('a bug')
  })
  const story = await (await (await Story.of(w)).fail(1)).complete(2)
  assert.equal(story.error.sequence, undefined)
})

bothWays('a child reports its end as its own kind of error', async (cold) => {
  const w = workflow(async () => {
    try {
      return await child.run(1)
    } catch (error) {
      return error instanceof ChildFailed ? error.message.length : 0
    }
  })
  assert.equal((await (await Story.of(w, cold)).complete(1, 7)).result, 7)
  assert.equal((await (await Story.of(w, cold)).fail(1, 'Error', 'four')).result, 4)
})

for (const how of ['failed', 'cancelled']) {
  bothWays(`the error of a ${how} child names it and says why`, async (cold) => {
    const w = workflow(async () => {
      try {
        await child.run(1)
      } catch (error) {
        if (error instanceof ChildError) return [error.id, error.message]
      }
      return []
    })
    const story = await Story.of(w, cold)
    const row = story.child(1)
    if (how === 'failed') {
      await story.fail(1, 'Error', 'no funds')
    } else {
      story.stop(row, 'out of stock')
      await story.go()
    }
    const why = how === 'failed' ? 'no funds' : 'child child was cancelled: out of stock'
    assert.deepEqual(story.result, [row.id, why])
  })
}

bothWays('queue inside a workflow answers a handle at once', async (cold) => {
  const w = workflow(async () => {
    const handle = await child.options({ closePolicy: 'detach' }).queue(1)
    await a.run()
    return [handle.id, await handle.result()]
  })
  const story = await Story.of(w, cold)
  assert.equal(story.commands[0]?.close_policy, 'detach')
  const { id } = story.child(1)
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/)
  assert.deepEqual((await (await story.complete(1, 9)).complete(2)).result, [id, 9])
})

bothWays('a step runs in the worker and its result comes back as an event', async (cold) => {
  const double = step('double', (x: number) => 2 * x)
  const w = workflow(async () => {
    const first = await double.run(1)
    return (await double.run(first)) + (await a.run())
  })
  const story = await Story.of(w, cold)
  assert.equal(story.stepsRun.length, 2)
  assert.equal((await story.complete(3, 1)).result, 5)
  assert.equal(story.stepsRun.length, 2, 'a recorded step does not run again')
  await story.checkPrefixes()
})

test('a failed step throws what is recorded', async () => {
  const bad = step('bad', () => {
    throw new RangeError('no')
  })
  const w = workflow(async () => {
    try {
      await bad.run()
    } catch (error) {
      return error instanceof StepError && error.type
    }
    return ''
  })
  assert.equal((await Story.of(w)).result, 'RangeError')
})

test('commands go out before a step starts', async () => {
  const s = step('s', () => 1)
  const w = workflow(async () => {
    const [one, other] = await all([a.run(), s.run()])
    return one + other
  })
  const story = await Story.of(w)
  const [first] = story.turns
  assert.deepEqual([first?.then, first?.commands.length, first?.steps.length], ['keep', 1, 1])
  assert.equal((await story.complete(1, 1)).result, 2)
})

test('a step inside a workflow cannot be queued', async () => {
  const s = step('s', () => 1)
  const w = workflow(() => s.queue())
  assert.match((await Story.of(w)).error.message, /s is a step/)
})

test('idempotency keys have no meaning inside a workflow', async () => {
  const w = workflow(() => child.options({ idempotencyKey: 'k' }).run(1))
  assert.match((await Story.of(w)).error.message, /idempotencyKey has no meaning for child/)
})

bothWays('the state is published once', async (cold) => {
  const w = workflow(async () => {
    setState({ at: 1 })
    await a.run()
    setState({ at: 2 })
    await a.run()
  })
  const story = await (await Story.of(w, cold)).complete(2)
  assert.deepEqual(story.row.state, { at: 2 })
  assert.equal(story.types.filter((type) => type === 'state_set').length, 2)
  await story.checkPrefixes()
})

test('a signal to another workflow is a step with a key of its own', async () => {
  const w = workflow(async () => {
    await sendSignal('other', 's', 1)
  })
  const story = await Story.of(w, { start: false })
  story.stepResults.set('workflows.send_signal', { delivered: true })
  await story.go()
  assert.equal(story.status, 'completed')
  assert.deepEqual(story.stepsRun, ['workflows.send_signal'])
  const [sent] = story.turns.flatMap(({ steps }) => steps)
  assert.deepEqual(sent?.args, ['other', 's', 1, `${story.row.id}:1:1`])
})

test('a result that is not JSON fails the workflow with its path', async () => {
  const w = workflow(() => ({ a: [1, new Set([2])] })) // T17
  const story = await Story.of(w)
  assert.equal(story.error.type, 'PayloadError')
  assert.match(story.error.message, /result\.a\[1\]/)
})

test('keyword arguments from Python fail the workflow and name the argument', async () => {
  const story = await Story.of(
    workflow(() => 1),
    { start: false },
  )
  story.row.kwargs = { limit: 3 }
  await story.go()
  assert.equal(story.error.type, 'TypeError')
  assert.match(story.error.message, /limit/)
})

bothWays('sleeps end on the clock of the engine and zero is recorded', async (cold) => {
  const w = workflow(async () => {
    await sleep(0) // O2
    await sleep(-5)
    await sleep('250ms')
    await sleep(1.5)
  })
  const story = await Story.of(w, cold)
  assert.deepEqual(
    story.commands.map(({ delay_ms }) => delay_ms),
    [0, 0, 250],
  )
  await story.later(0.3)
  assert.equal(story.commands.at(-1)?.delay_ms, 1500)
  assert.equal((await story.later(2)).status, 'completed')
  assert.equal(story.types.filter((type) => type === 'timer_fired').length, 4)
  await story.checkPrefixes()
})

test('an event that came while nobody held the workflow is no replay', async () => {
  // R12: also when the whole history comes with it, as to a worker without a warm copy.
  const told: boolean[] = []
  const w = workflow(async () => {
    await waitForSignal('a')
    told.push(isReplaying())
    await waitForSignal('b')
    told.push(isReplaying())
  })
  const at = '2026-01-01T00:00:00Z'
  const events: any[] = [
    { position: 1, at, type: 'started' },
    { position: 2, at, type: 'signal_received', name: 'a' },
    { position: 3, at, type: 'signal_received', name: 'b' },
  ]
  const about = { id: '018f0000-0000-7000-8000-000000000001', run: 1, name: 'w' }
  const expected: [number, boolean[]][] = [
    [0, [true, false]],
    [1, [false, false]],
    [2, [true, false]],
  ]
  for (const [seen, wanted] of expected) {
    const replay = new Replay({ ...about, seen } as any, w.definition)
    await replay.feed(events)
    replay.discard()
    assert.deepEqual(told.splice(0), wanted, `${seen}`)
  }
})
