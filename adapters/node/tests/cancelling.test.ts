/** How workflow code hears of a cancel: once, with its reason, and wherever it waits. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all, asCompleted, race, shield, timeout } from '../src/_combinators'
import { CancelledError, TimeoutError } from '../src/_errors'
import { continueAsNew, sleep, waitForSignal } from '../src/_workflow'
import { activity, bothWays, numbers, Story, step, workflow } from './story'

const a = activity('c.a')
const undo = activity('c.undo')

bothWays('the reason reaches the code and the error of the execution', async (cold) => {
  const told: string[] = []
  const w = workflow(async () => {
    try {
      await a.run()
    } catch (error) {
      told.push((error as Error).message)
      throw error
    }
  })
  const story = await (await Story.of(w, cold)).cancel('out of stock')
  assert.equal(story.error.type, 'CancelledError')
  assert.equal(story.error.message, 'out of stock')
  assert.equal(told.at(-1), 'out of stock')
})

const swallowed: [string, () => Promise<unknown>][] = [
  ['a catch', () => a.run().catch((error) => error.name)],
  ['Promise.allSettled', () => Promise.allSettled([a.run(1), sleep(60)])],
  ['a shield that is caught', () => shield(a.run()).catch(() => 'caught')],
  [
    'a loop that goes on',
    async () => {
      for (;;)
        if (
          await a.run().then(
            () => false,
            () => true,
          )
        )
          return 'ended'
    },
  ],
  ['code that continues as new', () => a.run().catch(() => continueAsNew())],
]

for (const [how, code] of swallowed) {
  bothWays(`the reason is kept when ${how} swallows the cancel`, async (cold) => {
    const story = await (await Story.of(workflow(code), cold)).cancel('out of stock')
    assert.equal(story.status, 'cancelled')
    assert.equal(story.error.type, 'CancelledError')
    assert.equal(story.error.message, 'out of stock')
  })
}

bothWays('an error of the clean-up is told, and not the cancel', async (cold) => {
  const w = workflow(() =>
    a.run().catch(() => {
      throw new RangeError('no refund')
    }),
  )
  const story = await (await Story.of(w, cold)).cancel('out of stock')
  assert.equal(story.status, 'cancelled')
  assert.equal(story.error.message, 'no refund')
})

bothWays('a cancel ends the loop of asCompleted when all branches have heard', async (cold) => {
  const heard: string[] = []
  const w = workflow(async () => {
    heard.length = 0
    const slow = () => sleep(60).catch((error) => heard.push(error.message))
    try {
      for await (const end of asCompleted([a.run(1), slow, a.run(2)])) heard.push(end.status)
    } catch (error) {
      heard.push((error as Error).name)
      await undo.run()
      throw error
    }
    return heard
  })
  const story = await Story.of(w, cold)
  await story.complete(1)
  await story.cancel('out of stock')
  assert.deepEqual(heard, ['fulfilled', 'out of stock', 'CancelledError'])
  await story.complete(4) // the clean-up
  assert.equal(story.status, 'cancelled')
  assert.equal(story.error.message, 'out of stock')
  await story.checkPrefixes()
})

bothWays('asCompleted over shielded work hears of a cancel', async (cold) => {
  const w = workflow(async () => {
    const kept = shield(async () => await a.run(1)).catch(() => a.run(9))
    for await (const end of asCompleted([kept])) void end
    return 'swallowed'
  })
  const story = await (await Story.of(w, cold)).cancel('out of stock')
  assert.equal(story.status, 'cancelled')
  assert.equal(story.error.message, 'out of stock')
})

bothWays('without a reason the code is told that it was asked', async (cold) => {
  const story = await (
    await Story.of(
      workflow(() => a.run()),
      cold,
    )
  ).cancel()
  assert.equal(story.error.message, 'somebody asked it to stop')
})

bothWays('all that waits hears of a cancel, in the order of the calls', async (cold) => {
  const heard: number[] = []
  const w = workflow(async () => {
    heard.length = 0
    const one = async (n: number, wait: () => Promise<unknown>) => {
      await wait().catch(() => heard.push(n))
    }
    const waits = [() => a.run(0), () => sleep(9), () => waitForSignal('s'), () => a.run(3)]
    await Promise.all(waits.map((wait, n) => one(n, wait)))
  })
  const story = await (await Story.of(w, cold)).cancel()
  assert.deepEqual(heard, [0, 1, 2, 3])
  const cancels = story.commands.filter(({ type }) => type === 'cancel')
  assert.deepEqual(
    cancels.map(({ sequence }) => sequence),
    [1, 2, 3],
  )
})

bothWays('a cancel is heard once', async (cold) => {
  const w = workflow(async () => {
    const heard: string[] = []
    for (const n of numbers(3)) {
      await a.run(n).catch((error) => heard.push(`${n} ${error.name}`))
    }
    throw new Error(heard.join())
  })
  const story = await (await Story.of(w, cold)).cancel()
  await story.complete(2)
  await story.complete(3)
  assert.equal(story.error.message, '0 CancelledError')
})

bothWays('a timeout that has expired does not take the cancel for its own', async (cold) => {
  // The cancel comes while the function still cleans up after its timeout.
  const heard: string[] = []
  const w = workflow(async () => {
    try {
      await timeout(1, async () => {
        try {
          await a.run()
        } finally {
          await undo.run()
        }
      })
    } catch (error) {
      heard.push((error as Error).name)
      throw error
    }
  })
  const story = await (await (await Story.of(w, cold)).later(2)).cancel()
  assert.equal(story.status, 'cancelled')
  assert.equal(heard.at(-1), 'CancelledError')
  assert.ok(!heard.includes('TimeoutError'))
})

bothWays('a clean-up may have timeouts of its own', async (cold) => {
  const w = workflow(async () => {
    try {
      await a.run(1)
    } finally {
      try {
        await timeout(1, () => undo.run(1))
      } catch (error) {
        if (error instanceof TimeoutError) await undo.run(2)
      }
    }
  })
  const story = await (await (await Story.of(w, cold)).cancel()).later(2)
  assert.deepEqual(story.child(4).made.args, [2])
  assert.equal((await story.complete(4)).status, 'cancelled')
})

bothWays('a branch that cleans up after a failure of another hears of the cancel', async (cold) => {
  const heard: string[] = []
  const w = workflow(async () => {
    heard.length = 0
    const cleansUp = async () => {
      try {
        await sleep(60)
      } finally {
        await undo.run(1)
      }
    }
    await race({ work: a.run(1), other: cleansUp }).catch((error) => heard.push(error.name))
    await a.run(2)
  })
  const story = await (await Story.of(w, cold)).fail(1)
  assert.equal(story.status, 'suspended', 'the clean-up goes on')
  await story.cancel('enough')
  assert.deepEqual(heard, ['CancelledError'], 'the race throws the cancel, and it is heard once')
  assert.equal(story.child(3).status, 'cancelled')
  assert.equal((await story.complete(4)).status, 'cancelled')
})

bothWays('a cancel that finds nothing waiting is heard by the next wait', async (cold) => {
  const heard: string[] = []
  const w = workflow(async () => {
    heard.length = 0
    const call = a.run(1)
    void shield(call).catch(() => heard.push('shield'))
    await call
    await a.run(2).catch((error) => heard.push(error.message))
    await a.run(3)
  })
  const story = await Story.of(w, cold)
  await story.cancel('first') // the wait of the shield hears of this one
  assert.deepEqual(heard.slice(-1), ['shield'])
  await story.complete(1)
  assert.deepEqual(story.child(2).args, [2], 'and nobody else')
})

bothWays('code that waits for shielded work only hears of a cancel afterwards', async (cold) => {
  const w = workflow(async () => {
    const handle = await a.queue(1)
    const done = new Promise((resolve) => {
      void shield(async () => resolve(await handle.result())).catch(() => {})
    })
    await done
    return 'swallowed'
  })
  const story = await (await Story.of(w, cold)).cancel()
  assert.equal(story.status, 'suspended')
  assert.equal((await story.complete(1)).status, 'cancelled')
})

bothWays('the next wait after an unheard cancel is taken back', async (cold) => {
  const heard: string[] = []
  const w = workflow(async () => {
    heard.length = 0
    const call = a.run(1)
    const inner = timeout(5, async () => {
      await call
      await a.run(2).catch((error) => heard.push(error.message))
      heard.push('went on')
    })
    await inner.catch((error) => heard.push(error.name))
    await call
    await a.run(3)
  })
  const story = await (await Story.of(w, cold)).later(6)
  await story.complete(1)
  assert.deepEqual(heard, ['TimeoutError', 'the time was up', 'went on'])
  assert.ok(!story.commands.some(({ execution }) => JSON.stringify(execution?.args) === '[2]'))
  await story.checkPrefixes()
})

bothWays('a step that is cancelled is dropped by the worker', async (cold) => {
  const slow = step('slow', () => 1)
  const w = workflow(async () => {
    const [name] = await race({ work: () => slow.run(), signal: waitForSignal('stop') })
    return name
  })
  const story = await Story.of(w, { ...cold, start: false })
  await story.signal('stop') // comes before the step is started
  assert.equal(story.result, 'signal')
  assert.deepEqual(story.stepsRun, [])
})

test('a cancel before any command was heard of takes the commands back', async () => {
  const w = workflow(async () => {
    const limited = race({ now: Promise.resolve(1), work: a.run(1), timer: sleep(9) })
    return (await limited)[0]
  })
  const story = await Story.of(w)
  assert.equal(story.result, 'now')
  assert.deepEqual(story.commands, [])
})

test('a CancelledError that nobody asked for is a failure', async () => {
  const w = workflow(() => {
    throw new CancelledError('mine')
  })
  const story = await Story.of(w)
  assert.deepEqual([story.status, story.error.message], ['failed', 'mine'])
})

bothWays('all of a workflow can be cancelled while branches are deep', async (cold) => {
  const ended: string[] = []
  const deep = async (n: number): Promise<void> => {
    if (n > 0) return await deep(n - 1)
    try {
      await sleep(60)
    } finally {
      ended.push('deep')
    }
  }
  const w = workflow(async () => {
    ended.length = 0
    await all([() => deep(3), () => timeout(99, () => deep(5)), () => race({ one: () => deep(9) })])
  })
  const story = await (await Story.of(w, cold)).cancel()
  assert.equal(story.status, 'cancelled')
  assert.ok(ended.length >= 1)
})

bothWays('clean-ups ask in the order of the branches, however deep they are', async (cold) => {
  const deep = async (n: number): Promise<void> => (n > 0 ? await deep(n - 1) : await sleep(60))
  const branch = (n: number, name: string) => async () => {
    try {
      await deep(n)
    } finally {
      void undo.run(name)
    }
  }
  const w = workflow(() => all([branch(9, 'x'), branch(0, 'y'), branch(4, 'z')]))
  const story = await (await Story.of(w, cold)).cancel()
  const asked = story.row.children.filter(({ name }) => name === 'c.undo')
  assert.deepEqual(
    asked.map(({ made }) => made.args[0]),
    ['x', 'y', 'z'],
  )
})

bothWays('a cancel of the whole comes once into the clean-ups of a race', async (cold) => {
  const done: string[] = []
  const w = workflow(async () => {
    done.length = 0
    const branch = (name: string) => async () => {
      try {
        await sleep(60)
      } finally {
        await undo.run(name)
        done.push(name)
      }
    }
    await race({ one: branch('one'), other: branch('other') })
  })
  const story = await (await Story.of(w, cold)).cancel()
  assert.equal(story.status, 'suspended')
  await story.complete(3)
  await story.complete(4)
  assert.equal(story.status, 'cancelled')
  assert.deepEqual(done, ['one', 'other'])
  await story.checkPrefixes()
})

/** The activities that were asked for. */
function asked(story: Story): (string | undefined)[] {
  const events = story.row.events.filter(({ type }) => type === 'activity_scheduled')
  return events.map(({ name }) => name as string | undefined)
}

/** Completes the activity of a name. */
async function completed(story: Story, name: string): Promise<void> {
  const [found] = story.row.events.filter((event) => event.name === name)
  await story.complete(found?.sequence as number)
}

bothWays('a race in a shielded clean-up hears nothing of the cancel before it', async (cold) => {
  const w = workflow(async () => {
    try {
      await a.run()
    } catch (error) {
      const [first] = await shield(() => race({ done: () => undo.run(), late: sleep(60) }))
      assert.equal(first, 'done')
      throw error
    }
  })
  const story = await (await Story.of(w, cold)).cancel('out of stock')
  await completed(story, 'c.undo')
  assert.equal(story.error.message, 'out of stock')
  assert.ok(story.types.includes('timer_cancelled'))
})

bothWays('a limit in a shielded clean-up is told as one', async (cold) => {
  const told: string[] = []
  const w = workflow(async () => {
    try {
      await a.run()
    } catch {
      await shield(() => timeout(5, () => undo.run())).catch((error) => told.push(error.name))
    }
  })
  const story = await (await Story.of(w, cold)).cancel('out of stock')
  await story.later(5)
  assert.equal(story.status, 'cancelled')
  assert.equal(told.at(-1), 'TimeoutError')
})

bothWays('a branch that answers a promise at once is told once', async (cold) => {
  const w = workflow(async () => {
    const charged = async () => {
      try {
        await sleep(60)
      } finally {
        await undo.run()
      }
    }
    const [first] = await race({ quick: sleep(1), slow: () => timeout('1h', charged) })
    return first
  })
  const story = await (await Story.of(w, cold)).later(1)
  assert.deepEqual(asked(story), ['c.undo'])
  await completed(story, 'c.undo')
  assert.equal(story.result, 'quick')
})

bothWays(
  'what a branch began beside the promise that it answers is cancelled, too',
  async (cold) => {
    const heard: string[] = []
    const w = workflow(async () => {
      heard.length = 0
      const slow = () => {
        sleep(60).catch(() => heard.push('beside'))
        return all([sleep(60).catch(() => heard.push('answered'))])
      }
      return (await race({ quick: sleep(1), slow }))[0]
    })
    const story = await (await Story.of(w, cold)).later(1)
    assert.equal(story.result, 'quick')
    assert.deepEqual(heard.sort(), ['answered', 'beside'])
  },
)
