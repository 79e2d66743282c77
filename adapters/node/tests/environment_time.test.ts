/** Time in an environment: skipped when nothing runs, and kept where something does. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { pbkdf2 } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import {
  ActivityError,
  ActivityTimeout,
  abortSignal,
  all,
  attemptInfo,
  ExecutionFailed,
  now,
  race,
  SignalTimeout,
  sleep,
  timeout,
  waitForSignal,
} from '../src'
import { Stuck, withEnvironment } from '../src/testing/index'
import { DAY, HOUR, inEnvironment, Own } from './environments'

test(
  'sleeps, timeouts of signals, and timeouts',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => {
      const began = now().getTime()
      const at: number[] = []
      const note = () => at.push((now().getTime() - began) / 1000)
      await sleep('2d')
      note()
      await sleep(0)
      await assert.rejects(waitForSignal('never', { timeout: '1h' }), SignalTimeout)
      note()
      await assert.rejects(timeout(0.25, () => sleep('1d')))
      note()
      await race({ first: sleep('5m'), second: sleep('10m') })
      note()
      return at
    })
    const found = await env.run(w)
    assert.deepEqual(found, [2 * DAY, 2 * DAY + HOUR, 2 * DAY + 3600.25, 2 * DAY + 3900.25])
    assert.equal(env.elapsed, 2 * DAY + 3900.25)
  }),
)

test(
  'delays of retries are those of the policy, without jitter',
  inEnvironment(async ({ env, activity, step, workflow }) => {
    const at: number[] = []
    const fails = async () => {
      at.push(env.elapsed)
      throw new TypeError('no')
    }
    const a = activity('a', fails, { retries: 4, initial: '1s', factor: 3, max: '20s' })
    const s = step('s', fails, { retries: 2, initial: '10s', factor: 2 })
    const w = workflow('w', async () => {
      for (const call of [a, s]) await assert.rejects(call.run(), /no/)
    })
    await env.run(w)
    assert.deepEqual(at, [0, 1, 4, 13, 33, 33, 43, 63])
  }),
)

test(
  'starts, deadlines and schedule timeouts',
  inEnvironment(
    async ({ env, activity, job, workflow }) => {
      const nobody = { queue: 'elsewhere', scheduleTimeout: '1h' } as const
      const unserved = activity('unserved', async () => {}, nobody)
      const again = { totalTimeout: '10s', retries: 100, initial: '3s', factor: 1 } as const
      const keepsFailing = activity('keepsFailing', () => Promise.reject(new Error('no')), again)
      const late = job('late', async () => env.elapsed, { delay: '2d' })
      const tooLong = workflow('tooLong', async () => await sleep('31d'), { timeout: '30d' })
      const w = workflow('w', async () => {
        const found: string[] = []
        for (const call of [unserved.run(), keepsFailing.run()]) {
          const error = await call.catch((error: unknown) => error)
          assert.ok(error instanceof ActivityTimeout)
          found.push(error.type)
        }
        return found
      })
      assert.deepEqual(await env.run(w), ['ScheduleTimeout', 'ExecutionTimeout'])
      assert.equal(env.elapsed, HOUR)
      assert.equal(await env.run(late), 2 * DAY + HOUR)
      const failed = await env.run(tooLong).catch((error: unknown) => error)
      assert.ok(failed instanceof ExecutionFailed)
      assert.equal(failed.type, 'ExecutionTimeout')
      assert.equal(env.elapsed, 32 * DAY + HOUR)
    },
    { queues: ['default'] },
  ),
)

test(
  'an attempt timeout stops a body that listens, and leaves one that does not',
  inEnvironment(async ({ env, activity, workflow }) => {
    const log: string[] = []
    const listens = activity(
      'listens',
      async () => {
        try {
          await pause(7_200_000, undefined, { signal: abortSignal() })
        } finally {
          log.push(`listens ${env.elapsed}`)
        }
      },
      { timeout: '1h', retries: 1, initial: '1s' },
    )
    const deaf = activity(
      'deaf',
      async () => {
        await pause(7_200_000)
        log.push(`deaf ${env.elapsed}`)
      },
      { timeout: '1h', retries: 0 },
    )
    const w = workflow('w', async () => {
      const found: string[] = []
      for (const call of [listens, deaf]) {
        const error = await call.run().catch((error: unknown) => error)
        assert.ok(error instanceof ActivityError)
        found.push(`${error.type} ${error.attempts}`)
      }
      return found
    })
    assert.deepEqual(await env.run(w), ['AttemptTimeout 2', 'AttemptTimeout 1'])
    await env.until(() => log.length === 3)
    assert.deepEqual(log, ['listens 3600', 'listens 7201', 'deaf 14401'])
  }),
)

// --- the timers of Node, in bodies --------------------------------------------------------

test(
  'the timers of Node go by the environment in bodies, and by the wall elsewhere',
  inEnvironment(async ({ env, activity }) => {
    const at: unknown[] = []
    const note = (what: string) => at.push(`${what} ${env.elapsed}`)
    const waits = activity('waits', async () => {
      const never = setTimeout(note, 1000, 'never')
      clearTimeout(never)
      const ticks = setInterval(note, 60_000, 'tick')
      await promisify(setTimeout)(90_000)
      note('promisified')
      assert.equal(await pause(60_000, 'value'), 'value')
      clearInterval(ticks)
      await new Promise((resolve) => setTimeout(resolve, HOUR * 1000).unref())
      await assert.rejects(pause(1, 0, { signal: AbortSignal.abort() }), { name: 'AbortError' })
      note('end')
    })
    const began = performance.now()
    await env.run(waits)
    assert.deepEqual(at, ['tick 60', 'promisified 90', 'tick 120', 'end 3750'])
    await pause(20)
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.ok(performance.now() - began >= 38, "a test's own timers are Node's")
    assert.equal(env.elapsed, 3750)
  }),
)

// --- what comes from outside ----------------------------------------------------------------

test(
  'a body that talks to a socket has its time',
  inEnvironment(async ({ env, activity, workflow }) => {
    const { port, close } = await answering(50)
    const asks = activity('asks', () => asked(port), { timeout: '1h' })
    const w = workflow('w', async () => await asks.run())
    assert.equal(await env.run(w), 'answer')
    assert.ok(env.elapsed < 30)
    await close()
  }),
)

test(
  'bodies that wait for files, processes and the threads of Node have their time',
  inEnvironment(async ({ env, activity, workflow }) => {
    const options = { timeout: '1m', retries: 0 } as const
    const reads = activity('reads', async () => (await readFile(__filename)).length > 0, options)
    const runs = activity(
      'runs',
      async () => {
        const { stdout } = await promisify(execFile)(process.execPath, ['-p', '6 * 7'])
        return stdout.trim()
      },
      options,
    )
    const derives = activity(
      'derives',
      async () => (await promisify(pbkdf2)('a', 'b', 200_000, 16, 'sha512')).length,
      options,
    )
    const packs = activity(
      'packs',
      async () => (await promisify(gzip)(Buffer.alloc(20_000_000, 'abcdefg'))).length > 0,
      options,
    )
    const w = workflow('w', async () => [
      await reads.run(),
      await runs.run(),
      await derives.run(),
      await packs.run(),
    ])
    assert.deepEqual(await env.run(w), [true, '42', 16, true])
    assert.ok(env.elapsed < 30, 'no longer than on the wall')
  }),
)

test(
  'a body that sleeps beside a connection does not stop time',
  inEnvironment(async ({ env, activity, workflow }) => {
    const { port, close } = await answering(0)
    const sleeps = activity('sleeps', async () => {
      const socket = connect(port, '127.0.0.1')
      await new Promise((resolve) => socket.once('connect', resolve))
      for (let n = 0; n < 100; n++) await pause(36_000)
      socket.destroy()
    })
    const w = workflow('w', async () => {
      await sleeps.run()
      await sleep('1d')
    })
    const began = performance.now()
    await env.run(w)
    assert.ok(Math.abs(env.elapsed - DAY - HOUR) < 10, `${env.elapsed}`)
    assert.ok(performance.now() - began < 20_000)
    await close()
  }),
)

test(
  'a body that waits for another does not stop time',
  inEnvironment(async ({ env, activity, workflow }) => {
    let open = () => {}
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    const waits = activity('waits', () => opened)
    const sleeps = activity('sleeps', async () => {
      await pause(3_600_000)
      open()
    })
    const w = workflow('w', async () => await all([waits.run(), sleeps.run()]))
    const began = performance.now()
    await env.run(w)
    assert.equal(env.elapsed, HOUR)
    assert.ok(performance.now() - began < 4000, 'it was not patient')
  }),
)

test('a silent body stops time for the patience only once', async () => {
  const { functions, activity, workflow } = new Own()
  const { port, close } = await answering(1e9)
  const hangs = activity('hangs', () => asked(port))
  const w = workflow('w', async () => {
    hangs.run().catch(() => {})
    for (let n = 0; n < 100; n++) await sleep('1h')
  })
  const began = performance.now()
  await withEnvironment({ functions, patience: 0.5 }, async (env) => {
    await env.run(w)
    assert.ok(Math.abs(env.elapsed - 100 * HOUR) < 1)
  })
  const took = performance.now() - began
  assert.ok(took >= 500 && took < 20_000, `it took ${took} ms`)
  await close()
})

test(
  'a body whose answer takes longer than its timeout is timed out by the wall',
  inEnvironment(async ({ env, activity }) => {
    const { port, close } = await answering(1e9)
    const asks = activity('asks', () => asked(port), { timeout: 0.1, retries: 0 })
    const began = performance.now()
    await assert.rejects(env.run(asks), /0\.1 s/)
    const took = performance.now() - began
    await close()
    assert.ok(took >= 95, `it took ${took} ms`)
    assert.equal(env.elapsed, 0.1)
  }),
)

// --- a test says when -----------------------------------------------------------------------

test(
  'skip lets everything happen until then',
  inEnvironment(async ({ env, activity, workflow }) => {
    const ticks: number[] = []
    const tick = activity('tick', async () => void ticks.push(env.elapsed / HOUR))
    const hourly = workflow('hourly', async () => {
      for (;;) {
        await sleep('1h')
        await tick.run()
      }
    })
    env.start(hourly)
    await env.skip('3h')
    assert.deepEqual(ticks, [1, 2, 3])
    await env.skip('59m')
    assert.deepEqual(ticks, [1, 2, 3])
    await env.skip(60)
    assert.deepEqual(ticks, [1, 2, 3, 4])
  }),
)

test(
  'until runs no further than it has to',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => {
      await sleep('1d')
      await sleep('1d')
    })
    const handle = env.start(w)
    await env.until(() => handle.history().length >= 3)
    assert.equal(env.elapsed, DAY)
    await assert.rejects(
      env.until(() => false),
      (error: unknown) =>
        error instanceof Stuck && /the condition does not hold/.test(error.message),
    )
    assert.equal(handle.status(), 'completed')
  }),
)

test(
  'what is planned happens at its time, and its errors are told',
  inEnvironment(async ({ env, workflow }) => {
    const log: unknown[] = []
    const w = workflow('w', async () => {
      await sleep('1h')
      await sleep('1h')
    })
    const handle = env.start(w)
    env.after('1h', () => log.push(handle.history().at(-1)?.type))
    env.after('30m', async () => {
      await env.skip(60)
      log.push(`awaited ${env.elapsed}`)
    })
    env.when(
      () => log.length === 2,
      () => log.push('condition'),
    )
    assert.equal(await handle.result(), null)
    assert.deepEqual(log, ['awaited 1860', 'timer_fired', 'condition'])

    const fails = () => {
      throw new RangeError('a mistake in the script')
    }
    const failsToo = async () => fails()
    for (const act of [fails, failsToo]) {
      env.after('1m', act)
      await assert.rejects(env.run(w), /mistake/)
    }
    env.when(fails, () => {})
    await assert.rejects(env.run(w), /mistake/)
  }),
)

test('a mistake that nobody waited for is told to the next who waits, or at the end', async () => {
  const { functions, workflow } = new Own()
  const w = workflow('w', async () => {})
  const fails = () => {
    throw new RangeError('a mistake in the script')
  }
  const planned = withEnvironment({ functions }, async (env) => {
    env.when(() => true, fails)
    await pause(20)
    await assert.rejects(env.skip('2h'), RangeError)
    assert.equal(await env.run(w), null)
    env.when(() => true, fails)
    await pause(20)
  })
  await assert.rejects(planned, RangeError)
})

// --- two runs of a test are the same --------------------------------------------------------

test('two runs of a test are the same', async () => {
  const { functions, activity, workflow } = new Own()
  const quick = activity('quick', (n: number) => `${n} ${attemptInfo().id}`)
  const slow = activity('slow', async (n: number) => {
    await pause(1 + 1000 * (n % 3))
    if (n === 4 && attemptInfo().attempt === 1) throw new TypeError('no')
    return n
  })
  const w = workflow('w', async () => {
    const numbers = Array.from({ length: 10 }, (_, n) => n)
    const first = numbers.map((n) => quick.run(n))
    const second = numbers.map((n) => slow.run(n))
    return [await all(first), await all(second)]
  })
  const played = (seed: number) =>
    withEnvironment({ functions, seed }, async (env) => {
      const handle = env.start(w)
      env.replace(slow, { takes: '1s' })
      return [handle.id, await handle.result(), handle.history()]
    })
  const first = await played(1)
  assert.deepEqual(first, await played(1))
  assert.notEqual(first[0], (await played(2))[0])
})

test(
  'time stands still while nobody waits',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => await sleep('1d'))
    const handle = env.start(w)
    await pause(30)
    assert.deepEqual([handle.status(), env.elapsed], ['suspended', 0])
  }),
)

/** A server that answers each line after a while, in milliseconds. */
async function answering(after: number): Promise<{ port: number; close: () => Promise<void> }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    if (after > 1e6) return
    socket.on('data', () => {
      setTimeout(() => socket.end('answer'), after)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    const deadline = performance.now() + 10_000
    while (process.getActiveResourcesInfo().some((type) => type.startsWith('TCP'))) {
      assert.ok(performance.now() < deadline, 'a socket stays open')
      await pause(1)
    }
  }
  return { port: (server.address() as { port: number }).port, close }
}

function asked(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('question\n'))
    socket.on('data', (data) => resolve(String(data)))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
  })
}
