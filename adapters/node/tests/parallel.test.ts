/** Parallel work: G1 to G6, and what the combinators promise. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  all,
  allSettled,
  asCompleted,
  type Completed,
  race,
  timeout,
  wait,
} from '../src/_combinators'
import { CancelledError, TimeoutError } from '../src/_errors'
import { ActivityCancelled, type ActivityError } from '../src/_outcomes'
import { sleep, waitForSignal } from '../src/_workflow'
import { activity, bothWays, numbers, Story, workflow } from './story'

const a = activity('p.a')

bothWays('activities run together and answer in argument order', async (cold) => {
  const w = workflow(() => all([a.run(1), a.run(2), a.run(3)])) // G1
  const story = await Story.of(w, cold)
  assert.equal(story.turns[0]?.commands.length, 3)
  await story.complete(3, 30)
  await story.complete(1, 10)
  assert.deepEqual((await story.complete(2, 20)).result, [10, 20, 30])
  await story.checkPrefixes()
})

// G2: in Node.
test('the recorded order of completion is that of the replay', async () => {
  const orders: number[][] = [] // G2
  const w = workflow(async () => {
    const order: number[] = []
    orders.push(order)
    const one = (n: number) => async () => order.push(await a.run(n))
    await all(numbers(3).map(one))
    await a.run(9)
  })
  const story = await Story.of(w)
  for (const n of [3, 1, 2]) await story.complete(n, n)
  await story.complete(4)
  assert.deepEqual(orders.slice(-2), [
    [3, 1, 2],
    [3, 1, 2],
  ])
})

bothWays('of several failures the first recorded one surfaces', async (cold) => {
  const w = workflow(async () => {
    try {
      await all([a.run(1), a.run(2), a.run(3)]) // G3
    } catch (error) {
      await a.run(4)
      return (error as ActivityError).message
    }
    return ''
  })
  const story = await Story.of(w, cold)
  await story.fail(2, 'Error', 'second')
  await story.fail(1, 'Error', 'first')
  assert.equal((await story.complete(4)).result, 'second')
})

bothWays('allSettled answers all', async (cold) => {
  const w = workflow(async () => {
    const ends = await allSettled([a.run(1), () => a.run(2)]) // G3
    return ends.map((end) => (end.status === 'fulfilled' ? end.value : end.reason.message))
  })
  const story = await (await Story.of(w, cold)).fail(1, 'E', 'x')
  assert.deepEqual((await story.complete(2, 2)).result, ['x', 2])
})

bothWays('a cancel of the workflow is no result of allSettled', async (cold) => {
  const w = workflow(async () => {
    await allSettled([a.run(1), a.run(2)])
    await a.run(3)
  })
  const story = await (await Story.of(w, cold)).cancel('enough')
  assert.equal(story.status, 'cancelled')
  assert.equal(story.error.message, 'enough')
  assert.equal(story.row.children.length, 2)
})

bothWays('the loser of a race is cancelled once', async (cold) => {
  const w = workflow(async () => {
    const [name] = await race({ work: a.run(1), late: sleep(5) }) // G5
    await a.run(2)
    return name
  })
  const story = await (await Story.of(w, cold)).later(6)
  assert.equal(story.child(1).status, 'cancelled')
  await story.crash().complete(3)
  assert.equal(story.result, 'late')
  assert.deepEqual(
    story.commands.filter(({ type }) => type === 'cancel'),
    [{ type: 'cancel', sequence: 1 }],
  )
  await story.checkPrefixes()
})

test('a race of what has ended is won by argument order', async () => {
  const w = workflow(async () => {
    const [first, second] = [waitForSignal('x'), waitForSignal('y')]
    await sleep(1)
    return await race({ b: second, a: first })
  })
  const story = await Story.of(w, { start: false })
  await story.signal('x', 1)
  await story.signal('y', 2)
  assert.deepEqual((await story.later(2)).result, ['b', 2])
})

test('a race of nothing is an error', async () => {
  const story = await Story.of(workflow(() => race({})))
  assert.equal(story.error.message, 'race() needs at least one branch')
})

bothWays('a failure that comes first ends the race, and the losers with it', async (cold) => {
  const w = workflow(async () => {
    try {
      return await race({ work: a.run(1), other: () => a.run(2) })
    } catch (error) {
      await a.run(3)
      return (error as ActivityError).message
    }
  })
  const story = await (await Story.of(w, cold)).fail(2, 'Error', 'second')
  assert.equal(story.child(1).status, 'cancelled')
  assert.equal((await story.complete(3)).result, 'second')
})

bothWays('a race waits until its losers have cleaned up', async (cold) => {
  const w = workflow(async () => {
    const log: string[] = []
    const loser = async () => {
      try {
        await sleep(60)
      } finally {
        await a.run(1)
        log.push('cleaned')
      }
    }
    await race({ a: sleep(1), b: loser })
    return [...log, 'after']
  })
  const story = await (await Story.of(w, cold)).later(2)
  assert.equal(story.status, 'suspended')
  assert.deepEqual((await story.complete(3)).result, ['cleaned', 'after'])
  await story.checkPrefixes()
})

bothWays('a cancel reaches a race whose losers clean up', async (cold) => {
  const w = workflow(async () => {
    const loser = async () => {
      try {
        await sleep(60)
      } finally {
        await a.run(1)
      }
    }
    await race({ a: sleep(1), b: loser })
    await a.run(2)
  })
  const story = await (await (await Story.of(w, cold)).later(2)).cancel()
  assert.equal(story.status, 'cancelled')
  assert.equal(story.row.children.length, 1, 'nothing was called after the race')
})

bothWays('a branch that waits for what is not its own is not waited for', async (cold) => {
  const w = workflow(async () => {
    const call = a.run(1)
    const [name] = await race({
      late: () => sleep(5),
      work: async () => await call,
    })
    return [name, await call]
  })
  const story = await (await Story.of(w, cold)).later(6)
  assert.equal(story.child(1).status, 'pending')
  assert.deepEqual((await story.complete(1, 7)).result, ['late', 7])
  await story.checkPrefixes()
})

bothWays('a function that answers a call of before gives it to the race', async (cold) => {
  const w = workflow(async () => {
    const call = a.run(1)
    const [name] = await race({ work: () => call, late: () => sleep(5) })
    return name
  })
  const story = await (await Story.of(w, cold)).later(6)
  assert.equal(story.result, 'late')
  assert.equal(story.child(1).status, 'cancelled')
})

bothWays('races within races are cancelled as a whole', async (cold) => {
  const w = workflow(async () => {
    const [name] = await race({
      inner: race({ one: a.run(1), both: all([a.run(2), () => a.run(3)]) }),
      late: sleep(5),
    })
    await sleep(1)
    return name
  })
  const story = await (await Story.of(w, cold)).later(6)
  assert.deepEqual(
    [1, 2, 3].map((sequence) => story.child(sequence).status),
    ['cancelled', 'cancelled', 'cancelled'],
  )
  const cancels = story.commands.filter(({ type }) => type === 'cancel')
  assert.deepEqual(
    cancels.map(({ sequence }) => sequence),
    [1, 2, 3],
    'in argument order',
  )
  assert.equal((await story.later(2)).result, 'late')
})

test('waiting for nothing returns at once', async () => {
  const w = workflow(async () => [await all([]), await allSettled([]), await wait([])]) // G6
  assert.deepEqual((await Story.of(w)).result, [[], [], [[], []]])
})

bothWays('five hundred activities can be waited for', async (cold) => {
  const w = workflow(async () => {
    const found = await all(numbers(500).map((n) => a.run(n))) // G6
    return found.reduce((sum, each) => sum + each, 0)
  })
  const story = await Story.of(w, cold)
  await story.completeAll(numbers(500).map((n) => [n + 1, n]))
  assert.equal(story.result, (499 * 500) / 2)
})

bothWays('Promise.all, race and allSettled work unchanged, and cancel nothing', async (cold) => {
  const w = workflow(async () => {
    const [one, two] = await Promise.all([a.run(1), a.run(2)])
    const first = await Promise.race([a.run(3), sleep(60)])
    const ends = await Promise.allSettled([a.run(4), sleep(1)])
    return [one, two, first, ends.length]
  })
  const story = await Story.of(w, cold)
  await story.completeAll([
    [2, 20],
    [1, 10],
  ])
  await story.complete(3, 30)
  await story.complete(5, 50)
  assert.deepEqual((await story.later(2)).result, [10, 20, 30, 2])
  assert.equal(story.commands.filter(({ type }) => type === 'cancel').length, 0)
  await story.checkPrefixes()
})

test('a timeout that was not needed in the same turn leaves no trace', async () => {
  const w = workflow(async () => {
    await timeout('5m', async () => {})
    await a.run()
  })
  const { commands } = await Story.of(w)
  assert.deepEqual(
    commands.map(({ type, sequence }) => [type, sequence]),
    [['schedule', 2]],
  )
})

bothWays('a timeout cancels what it limits', async (cold) => {
  const w = workflow(async () => {
    try {
      await timeout(1, () => a.run())
    } catch (error) {
      return error instanceof TimeoutError ? error.message : `${error}`
    }
    return ''
  })
  const story = await (await Story.of(w, cold)).later(2)
  assert.equal(story.result, 'it did not end within 1 s')
  assert.equal(story.child(2).status, 'cancelled')
})

bothWays('what ends in time cancels the timer of its timeout', async (cold) => {
  const w = workflow(async () => {
    const found = await timeout(5, async () => (await a.run(1)) + 1)
    return found + (await a.run(2))
  })
  const story = await (await Story.of(w, cold)).complete(2, 1)
  assert.equal((await story.complete(3, 10)).result, 12)
  assert.equal(story.types.filter((type) => type === 'timer_cancelled').length, 1)
  await story.checkPrefixes()
})

bothWays('a timeout ends also if what it limits waits for what is not its own', async (cold) => {
  const w = workflow(async () => {
    const call = a.run(1)
    try {
      await timeout(1, async () => await call)
    } catch (error) {
      return [error instanceof TimeoutError, await call]
    }
    return []
  })
  const story = await (await Story.of(w, cold)).later(2)
  assert.deepEqual((await story.complete(1, 7)).result, [true, 7])
})

bothWays('a timeout without a limit has no timer', async (cold) => {
  const w = workflow(() => timeout(null, () => a.run(1)))
  const story = await Story.of(w, cold)
  assert.equal((await story.complete(1, 3)).result, 3)
})

bothWays('wait answers in the order given', async (cold) => {
  const w = workflow(async () => {
    const calls = numbers(4).map((n) => a.run(n))
    const [done, open] = await wait(calls, { timeout: 1 })
    return [done.map((each) => calls.indexOf(each)), open.map((each) => calls.indexOf(each))]
  })
  const story = await Story.of(w, cold)
  await story.complete(4)
  await story.complete(2)
  assert.deepEqual((await story.later(2)).result, [
    [1, 3],
    [0, 2],
  ])
})

bothWays('wait ends at the first failure, or at the first end, if it is told to', async (cold) => {
  const w = workflow(async () => {
    const calls = numbers(4).map((n) => a.run(n))
    const first = await wait(calls, { returnWhen: 'FIRST_COMPLETED' })
    const failed = await wait(calls, { returnWhen: 'FIRST_EXCEPTION' })
    return [first[0].length, failed[0].length]
  })
  const story = await Story.of(w, cold)
  await story.complete(4)
  await story.complete(2)
  assert.deepEqual((await story.fail(1)).result, [1, 3])
})

bothWays('asCompleted answers in the order of events', async (cold) => {
  const w = workflow(async () => {
    const ends: Completed<number>[] = []
    for await (const end of asCompleted(numbers(3).map((n) => a.run(n)))) ends.push(end)
    return ends.map((end) => [end.index, end.status === 'fulfilled' ? end.value : 'failed'])
  })
  const story = await Story.of(w, cold)
  await story.complete(3, 3)
  await story.fail(1)
  assert.deepEqual((await story.complete(2, 2)).result, [
    [2, 3],
    [0, 'failed'],
    [1, 2],
  ])
})

test('a cancel goes to all branches in the same order in every replay', async () => {
  const w = workflow(async () => {
    const one = (n: number) => async () => {
      try {
        await sleep(60)
      } catch (error) {
        void a.run(n)
        throw error
      }
    }
    await race({
      first: a.run(99),
      rest: () => all(numbers(12).map(one)),
    }).catch(() => {})
    await a.run(100)
  })
  const story = await (await Story.of(w)).fail(1)
  assert.equal(story.status, 'suspended', story.row.parked)
  await story.checkPrefixes()
})

// C9: in Node.
test('an activity that somebody else cancelled is not a cancel of the workflow', async () => {
  const w = workflow(async () => {
    try {
      await a.run() // C9
    } catch (error) {
      return error instanceof ActivityCancelled && !(error instanceof CancelledError)
    }
    return false
  })
  const story = await Story.of(w)
  story.stop(story.child(1))
  assert.equal((await story.go()).result, true)
})

test('a race that is won already calls no function', async () => {
  const called: string[] = []
  const w = workflow(async () => {
    const ready = waitForSignal('x')
    await sleep(1)
    return await race({ work: async () => called.push('work'), ready })
  })
  const story = await (await Story.of(w)).signal('x', 1)
  assert.deepEqual((await story.later(2)).result, ['ready', 1])
  assert.deepEqual(called, [])
})
