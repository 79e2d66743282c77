/** What does not come to an end in an environment, and is told instead of hanging. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all, continueAsNew, ExecutionFailed, sleep, waitForSignal } from '../src'
import { Endless, Stuck } from '../src/testing/index'
import { DAY, HOUR, inEnvironment } from './environments'

test(
  'what waits for what nobody sends is told at once',
  inEnvironment(async ({ env, activity, workflow }) => {
    const hangs = activity('hangs', () => new Promise<void>(() => {}))
    const child = workflow('child', async () => {
      await all([waitForSignal('packed'), hangs.run()])
    })
    const parent = workflow('parent', async () => {
      await all([child.run(), waitForSignal('approved')])
    })
    const began = performance.now()
    const stuck = await env.run(parent).catch((error: unknown) => error)
    assert.ok(performance.now() - began < 4000, 'a promise is nothing to be patient with')
    assert.ok(stuck instanceof Stuck)
    assert.match(stuck.message, /the end of 'parent', at 2026-01-01 00:00:00 \(0:00:00 after/)
    for (const line of [
      "workflow 'parent'",
      "for the signal 'approved', which nobody sends",
      "workflow 'child'",
      "for the signal 'packed', which nobody sends",
      'runs, and its code awaits something that does not come',
    ]) {
      assert.ok(stuck.message.includes(line), `${line} is not in ${stuck.message}`)
    }
    env.executions(parent)[0]?.terminate()
  }),
)

test(
  'what nobody runs is told',
  inEnvironment(
    async ({ env, activity, workflow }) => {
      const paint = activity('paint', async () => {}, { queue: 'elsewhere' })
      const w = workflow('w', async () => await paint.run())
      await assert.rejects(env.run(w), isStuck(/for a worker on queue 'elsewhere'/))
    },
    { queues: ['default'] },
  ),
)

test(
  'whoever waits through the client is told too, and it can go on',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => await waitForSignal('go'))
    const handle = env.start(w)
    await assert.rejects(handle.result(), isStuck(/'go'/))
    await assert.rejects(w.run(), isStuck(/'go'/))
    handle.signal('go', 1, { after: '1d' })
    assert.equal(await handle.result(), 1)
  }),
)

test(
  'time has an end',
  inEnvironment(
    async ({ env, workflow }) => {
      const forever = workflow('forever', async () => {
        for (;;) await sleep('1d')
      })
      const endless = /beyond 2026-01-31.*the timer 'sleep' of workflow forever/
      await assert.rejects(env.run(forever), isEndless(endless))
      await env.skip('60d') // whoever says how far goes as far
      assert.equal(env.elapsed, 90 * DAY)
    },
    { timeLimit: '30d' },
  ),
)

test(
  'runs are followed, and have an end',
  inEnvironment(
    async ({ env, activity, workflow }) => {
      const work = activity('work', async (n: number) => n)
      const countdown = workflow('countdown', async (n: number) => {
        await work.run(n)
        await sleep('1h')
        if (n > 0) return await continueAsNew(n - 1)
        return `done ${await waitForSignal('word')}`
      })
      const handle = env.start(countdown, 8)
      handle.signal('word', 'early')
      assert.equal(await handle.result(), 'done early')
      assert.equal(handle.run, 9)
      assert.equal(env.elapsed, 9 * HOUR)
      const args = env.calls(work).flatMap((call) => call.args)
      assert.deepEqual(args, [8, 7, 6, 5, 4, 3, 2, 1, 0])
      assert.equal(handle.history(1).at(-1)?.type, 'continued')
      assert.equal(handle.history()[0]?.type, 'signal_received')
      await assert.rejects(env.run(countdown, 100), isEndless(/10 times/))
    },
    { maxRuns: 10 },
  ),
)

test(
  'runs without a pause have an end too',
  inEnvironment(
    async ({ env, workflow }) => {
      const spins = workflow('spins', async () => await continueAsNew())
      await assert.rejects(env.run(spins), Endless)
      await assert.rejects(env.skip('1h'), Endless)
      env.executions(spins)[0]?.terminate()
      await env.skip('1h')
    },
    { maxRuns: 50 },
  ),
)

test(
  'a workflow whose history grows without an end runs out of time or of history',
  inEnvironment(
    async ({ env, workflow }) => {
      const grows = workflow('grows', async () => {
        for (;;) await sleep(1)
      })
      const error = await env.run(grows).catch((error: unknown) => error)
      assert.ok(error instanceof Endless || error instanceof ExecutionFailed)
    },
    { prove: 'never', timeLimit: '5m' },
  ),
)

function isStuck(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof Stuck && message.test(error.message)
}

function isEndless(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof Endless && message.test(error.message)
}
