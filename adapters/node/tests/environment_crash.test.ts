/** A worker that is killed, and what goes on without it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import {
  ActivityError,
  all,
  allSettled,
  attemptInfo,
  ExecutionFailed,
  heartbeat,
  lastHeartbeat,
  setState,
  sleep,
  waitForSignal,
} from '../src'
import { withEnvironment } from '../src/testing/index'
import { DAY, HOUR, inEnvironment, Own } from './environments'

test(
  'a killed body runs none of its code, and another attempt follows',
  inEnvironment(async ({ env, activity, workflow }) => {
    const log: string[] = []
    const works = activity(
      'works',
      async () => {
        const { attempt } = attemptInfo()
        log.push(`begins ${attempt}`)
        try {
          if (attempt === 1) await pause(3_600_000)
        } catch (error) {
          log.push('catch')
          throw error
        } finally {
          log.push('finally')
        }
        return attempt
      },
      { retries: 0 },
    )
    const w = workflow('w', async () => await works.run())
    env.crash({ after: '10m' })
    assert.equal(await env.run(w), 2)
    assert.deepEqual(log, ['begins 1', 'begins 2', 'finally'])
    assert.equal(env.elapsed, 610, 'its death is noticed after a while')
    const [call] = env.calls(works)
    assert.deepEqual([call?.attempts, call?.errors, call?.result], [2, [], 2])
    await env.skip('1d')
    assert.equal(log.length, 3)
  }),
)

test(
  'a workflow goes on from its history',
  inEnvironment(async ({ env, activity, step, workflow }) => {
    const ran: unknown[] = []
    const a = activity('a', async (x: number) => {
      ran.push(x)
      return x
    })
    const s = step('s', async (x: number) => {
      ran.push(`step ${x}`)
      if (x === 1 && ran.length === 2) {
        env.crash()
        await pause(1)
        ran.push('never')
      }
      return x
    })
    const w = workflow('w', async () => {
      const total = (await a.run(0)) + (await s.run(1))
      await sleep('1d')
      return total + (await s.run(2))
    })
    env.crash({ after: '12h' })
    assert.equal(await env.run(w), 3)
    assert.deepEqual(ran, [0, 'step 1', 'step 1', 'step 2'])
    const told = env.calls(s).map(({ args, attempts }) => [...args, attempts])
    assert.deepEqual(told, [
      [1, 2],
      [2, 1],
    ])
    assert.equal(env.elapsed, DAY + 10)
  }),
)

test(
  'a crash between your calls',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => {
      setState('waits')
      return await waitForSignal('go')
    })
    const handle = env.start(w)
    env.crash()
    await env.skip()
    assert.equal(handle.getState(), 'waits')
    env.crash()
    env.crash()
    handle.signal('go', 1)
    assert.equal(await handle.result(), 1)
  }),
)

for (const cold of [false, true]) {
  test(`a crash after any event changes nothing of the result, cold=${cold}`, async () => {
    for (let n = 1; n < 22; n++) await survives(n, cold)
  })
}

async function survives(afterEvents: number, cold: boolean): Promise<void> {
  const { functions, activity, step, workflow } = new Own()
  const once = { retries: 0 }
  const a = activity(
    'a',
    async (x: number) => {
      await pause(1000 * x)
      return x
    },
    once,
  )
  const quick = activity('quick', (x: number) => x, once)
  const s = step(
    's',
    async (x: number) => {
      await pause(1000)
      return x
    },
    once,
  )
  const child = workflow('child', async (x: number) => x + (await a.run(1)))
  const w = workflow('w', async () => {
    const found: unknown[] = await all([a.run(1), quick.run(2), s.run(3), child.run(4)])
    found.push(await waitForSignal('word', { timeout: '1d' }))
    await all([sleep(60), s.run(6)])
    setState(found)
    return found
  })
  await withEnvironment({ functions, cold }, async (env) => {
    const handle = env.start(w)
    handle.signal('word', 'x', { after: '1h' })
    env.crash({ afterEvents })
    assert.deepEqual(await handle.result(), [1, 2, 3, 5, 'x'])
    assert.deepEqual(handle.getState(), [1, 2, 3, 5, 'x'])
    const names = handle.history().map(({ type, sequence }) => `${type} ${sequence}`)
    assert.equal(new Set(names).size, names.length, 'nothing is recorded twice')
  })
}

test(
  'progress survives',
  inEnvironment(async ({ env, activity }) => {
    const counts = activity('counts', async () => {
      const seen: number[] = []
      for (let n = lastHeartbeat<number>() ?? 0; n < 10; n++) {
        heartbeat(n)
        await pause(60_000)
        seen.push(n)
      }
      return seen
    })
    env.crash({ after: '330s' })
    assert.deepEqual(await env.run(counts), [5, 6, 7, 8, 9])
  }),
)

test(
  'what a body awaits from outside goes on, and its result is dropped',
  inEnvironment(async ({ env, activity, workflow }) => {
    const attempts: number[] = []
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const works = activity('works', async () => {
      const { attempt } = attemptInfo()
      attempts.push(attempt)
      if (attempt === 1) {
        env.crash()
        await finished
      }
      return attempt
    })
    const w = workflow('w', async () => await works.run())
    assert.equal(await env.run(w), 2)
    finish()
    await env.skip('1h')
    assert.deepEqual(attempts, [1, 2])
    assert.equal(env.calls(works)[0]?.result, 2)
  }),
)

test(
  'what crashes its worker again and again is given up',
  inEnvironment(async ({ env, activity, workflow }) => {
    const innocents: string[] = []
    const kills = activity('kills', async () => {
      env.crash()
      await pause(1000)
    })
    const innocent = activity('innocent', async () => {
      innocents.push('ran')
      await pause(5000)
      return 'done'
    })
    const w = workflow('w', async () => {
      const both = await allSettled([kills.run(), innocent.run()])
      return both.map((each) => {
        if (each.status === 'fulfilled') return each.value
        return each.reason instanceof ActivityError ? each.reason.type : String(each.reason)
      })
    })
    assert.deepEqual(await env.run(w), ['WorkerLost', 'done'])
    await assert.rejects(env.run(kills), (error: unknown) => {
      return error instanceof ExecutionFailed && /3 times in a row/.test(error.message)
    })
  }),
)

test(
  'a crash on a condition',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => {
      setState('one')
      await sleep('1h')
      setState('two')
      await sleep('1h')
      return 'end'
    })
    const handle = env.start(w)
    const crashes: number[] = []
    env.when(
      () => handle.getState() === 'two',
      () => {
        crashes.push(env.elapsed)
        env.crash()
      },
    )
    env.crash({ when: () => handle.getState() === 'one' })
    assert.equal(await handle.result(), 'end')
    assert.deepEqual(crashes, [HOUR])
  }),
)
