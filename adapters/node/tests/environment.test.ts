/** Running workflows in an environment. */

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { test } from 'node:test'
import {
  ActivityError,
  abortSignal,
  attemptInfo,
  cancelled,
  client,
  ExecutionCancelled,
  ExecutionFailed,
  ExecutionFinished,
  ExecutionNotFound,
  heartbeat,
  lastHeartbeat,
  NotDurableError,
  ResultTimeout,
  setState,
  sleep,
  waitForSignal,
  workflowInfo,
} from '../src'
import { type EnvironmentHandle, WorkflowEnvironment, withEnvironment } from '../src/testing/index'
import { DAY, inEnvironment, Own } from './environments'

const NOBODY = '01900000-0000-7000-8000-000000000000'

test(
  'bodies run for real',
  inEnvironment(async ({ env, activity, step, workflow }) => {
    const plus = activity('plus', async (x: number) => {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      return x + 1
    })
    const twice = activity('twice', (x: number) => 2 * x)
    const minus = step('minus', async (x: number) => x - 1)
    const leaf = workflow('leaf', async (x: number) => x)
    const w = workflow('w', async (x: number, more: number) => {
      const [first, second] = await Promise.all([plus.run(x), twice.run(x)])
      await sleep('1h')
      return (await minus.run(first + second)) + (await leaf.run(more))
    })

    assert.equal(await env.run(w, 10, 5), 35)
    assert.equal(env.elapsed, 3601)
  }),
)

test(
  'results are typed',
  inEnvironment(async ({ env, job, workflow }) => {
    const w = workflow('w', async (x: number) => String(x))
    const j = job('j', () => [1])
    const result: string = await env.run(w, 1)
    const handle: EnvironmentHandle<string> = env.start(w.options({ priority: 9 }), 2)
    const numbers: number[] = await env.run(j)
    // @ts-expect-error the argument is a number
    const wrong = env.start(w, '1')
    assert.deepEqual([result, await handle.result(), numbers], ['1', '2', [1]])
    assert.equal(await wrong.result(), '1')
  }),
)

test(
  'jobs and activities run by themselves',
  inEnvironment(async ({ env, job, activity }) => {
    const fails = job(
      'fails',
      () => {
        throw new RangeError('no')
      },
      { retries: 0 },
    )
    const info = activity('info', async () => {
      const { name, attempt, parentId } = attemptInfo()
      return `${name} ${attempt} ${parentId}`
    })
    const failed = await caught(ExecutionFailed, env.run(fails))
    assert.deepEqual([failed.type, failed.message], ['RangeError', 'no'])
    assert.match(failed.remoteStack, /environment\.test\.ts/)
    assert.equal(await env.run(info), 'info 1 undefined')
  }),
)

test(
  'how a workflow ends is thrown',
  inEnvironment(async ({ env, activity, workflow }) => {
    const bad = activity('bad', () => Promise.reject(new TypeError('x')), { retries: 1 })
    const fails = workflow('fails', async () => await bad.run())
    const waits = workflow('waits', async () => await sleep('1d'))

    assert.equal((await caught(ExecutionFailed, env.run(fails))).type, 'ActivityError')
    const handle = env.start(waits)
    handle.cancel('not any more', { after: '1h' })
    assert.match((await caught(ExecutionCancelled, handle.result())).message, /not any more/)
    assert.equal(handle.status(), 'cancelled')
    const slow = env.start(waits)
    await caught(ResultTimeout, slow.result({ timeout: '2h' }))
    assert.equal(slow.status(), 'suspended')
    assert.equal(await slow.result(), null)
  }),
)

test(
  'what runs has its progress, its attempt and its cancel',
  inEnvironment(async ({ env, activity, workflow }) => {
    const seen: unknown[] = []
    const counts = activity(
      'counts',
      async () => {
        seen.push([attemptInfo().attempt, lastHeartbeat()])
        heartbeat({ done: 5 })
        if (seen.length === 1) throw new Error('again')
        return 1
      },
      { retries: 1, initial: '1s' },
    )
    const endless = activity('endless', async () => {
      const signal = abortSignal()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      seen.push(cancelled())
      return 'too late'
    })
    const w = workflow('w', async () => {
      await counts.run()
      await endless.run()
    })

    const handle = env.start(w)
    handle.cancel('', { when: () => env.calls(endless).length === 1 })
    await caught(ExecutionCancelled, handle.result())
    await env.until(() => seen.length === 3)
    assert.deepEqual(seen, [[1, null], [2, { done: 5 }], true])
  }),
)

test(
  'state, status and history can be looked at',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => {
      setState({ at: 'start' })
      await waitForSignal('go')
      setState({ at: 'end' })
      return workflowInfo().id
    })

    const handle = env.start(w)
    assert.deepEqual([handle.status(), handle.getState(), handle.history()], ['pending', null, []])
    await env.skip()
    assert.deepEqual([handle.status(), handle.getState()], ['suspended', { at: 'start' }])
    assert.deepEqual([await handle.waitsFor('go'), await handle.waitsFor('no')], [true, false])
    handle.signal('go')
    assert.equal(await handle.result(), handle.id)
    assert.deepEqual(handle.getState(), { at: 'end' })
    assert.equal(await handle.waitsFor('go'), false)
    const types = handle.history().map((event) => event.type)
    assert.deepEqual(types, ['started', 'state_set', 'signal_received', 'state_set'])
    assert.deepEqual([handle.execution().attempts, handle.run], [1, 1])
    assert.match(String(handle), /workflow w .*: completed/)
  }),
)

test(
  'an idempotency key answers the first',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async (x: number) => x).options({ idempotencyKey: 'key' })
    const first = env.start(w, 1)
    const second = env.start(w, 2)
    assert.deepEqual([first.created, second.created], [true, false])
    assert.equal(first.id, second.id)
    assert.equal(await second.result(), 1)
  }),
)

test(
  'a start brings its signal',
  inEnvironment(async ({ env, workflow }) => {
    const cart = workflow('cart', async () => [
      await waitForSignal('add'),
      await waitForSignal('add'),
    ])
    const adding = (item: string) =>
      cart.options({ idempotencyKey: 'cart 7', signal: ['add', item] })
    const handle = env.start(adding('book'))
    assert.equal(env.start(adding('pen')).id, handle.id)
    assert.deepEqual(await handle.result(), ['book', 'pen'])
    assert.throws(() => env.start(adding('late')), ExecutionFinished)
  }),
)

// --- the application's own code ---------------------------------------------------------

test(
  "the default client is the environment's",
  inEnvironment(async ({ env, workflow }) => {
    assert.equal(client(), env.client)
    const w = workflow('w', async (x: number) => x + (await waitForSignal<number>('add')))
    const handle = await w.queue(1)
    await client().signal(handle.id, 'add', 2)
    assert.equal(await handle.result(), 3)
    assert.equal(await env.handle(handle).result(), 3)
    assert.deepEqual(
      env.executions(w).map(({ id }) => id),
      [handle.id],
    )
    assert.throws(() => env.handle('nobody'), RangeError)
  }),
)

test('the former default client comes back', async () => {
  const former = client()
  await withEnvironment(async (outer) => {
    await withEnvironment((inner) => assert.equal(client(), inner.client))
    assert.equal(client(), outer.client)
  })
  assert.equal(client(), former)
})

test(
  'what awaits run() gets the answer, and time goes on meanwhile',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async (name: string) => {
      await sleep('30d')
      return `Hello, ${name}!`
    })
    const found = await Promise.all([w.run('Ada'), w.run('Grace'), env.run(w, 'Edsger')])
    assert.deepEqual(found, ['Hello, Ada!', 'Hello, Grace!', 'Hello, Edsger!'])
    assert.equal(env.elapsed, 30 * DAY)
  }),
)

test(
  'bodies queue and run others',
  inEnvironment(async ({ env, activity, workflow }) => {
    const other = workflow('other', async (x: number) => {
      await sleep('1d')
      return x
    })
    const asks = activity('asks', async () => {
      const handle = await other.queue(1)
      return (await handle.result()) + (await other.run(2))
    })
    const w = workflow('w', async () => await asks.run())
    assert.equal(await env.run(w), 3)
    assert.equal(env.elapsed, 2 * DAY)
  }),
)

test(
  'workflow code cannot use the client',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => {
      for (const call of [() => client().get('x'), () => client().wait('x')]) {
        try {
          await call()
          return 'taken'
        } catch (error) {
          if (!(error instanceof NotDurableError)) throw error
        }
      }
      return 'refused'
    })
    assert.equal(await env.run(w), 'refused')
  }),
)

test(
  'a body that fails with the errors of the library',
  inEnvironment(async ({ env, activity, workflow }) => {
    const looks = activity('looks', async () => await client().get(NOBODY), { retries: 0 })
    const w = workflow('w', async () => {
      const error = await looks.run().catch((error: unknown) => error)
      return error instanceof ActivityError ? error.type : ''
    })
    assert.equal(await env.run(w), 'ExecutionNotFound')
    await caught(ExecutionNotFound, env.client.get(NOBODY))
    await caught(ExecutionNotFound, env.client.wait(NOBODY))
  }),
)

// --- the end ----------------------------------------------------------------------------

test('what runs at the end is told to stop, and what waits is forgotten', async () => {
  const log: string[] = []
  const { functions, activity, workflow } = new Own()
  const endless = activity('endless', async () => {
    const signal = abortSignal()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    log.push('body stopped')
  })
  const runs = workflow('runs', async () => await endless.run())
  const waits = workflow('waits', async () => {
    try {
      await waitForSignal('never')
    } finally {
      log.push('never run')
    }
  })

  const env = await WorkflowEnvironment.open({ functions })
  env.start(runs)
  const waiting = env.start(waits)
  await env.until(() => env.calls(endless).length === 1)
  await env.close()
  await env.close()
  assert.deepEqual(log, ['body stopped'])
  assert.equal(waiting.status(), 'suspended', 'what happened can still be looked at')
  await assert.rejects(waiting.result(), /closed/)
  assert.throws(() => env.start(waits), /closed/)
  await assert.rejects(env.skip(), /closed/)
})

test('an environment is closed at the end of its block', async () => {
  const { functions, workflow } = new Own()
  const w = workflow('w', async () => 1)
  let kept: WorkflowEnvironment
  {
    await using env = await WorkflowEnvironment.open({ functions })
    kept = env
    assert.equal(await env.run(w), 1)
  }
  assert.throws(() => kept.start(w), /closed/)
})

test("nothing of the test's context reaches bodies and workflows", async () => {
  const { functions, activity, workflow } = new Own()
  const storage = new AsyncLocalStorage<string>()
  const inBody = activity('inBody', async () => storage.getStore() ?? 'unset')
  const w = workflow('w', async () => `${storage.getStore() ?? 'unset'} ${await inBody.run()}`)
  await storage.run('set', async () => {
    await using env = await WorkflowEnvironment.open({ functions })
    assert.equal(await env.run(w), 'unset unset') // as in a worker
    env.after('1h', () => assert.equal(storage.getStore(), 'set'))
    await env.skip('2h')
  })
})

test('options that make no sense are refused', async () => {
  await assert.rejects(WorkflowEnvironment.open({ start: new Date('never') }), /start/)
  await assert.rejects(WorkflowEnvironment.open({ prove: 'some' as 'sample' }), /prove/)
  const env = await WorkflowEnvironment.open({ start: new Date('2030-01-01T00:00:00Z') })
  assert.equal(env.now().getUTCFullYear(), 2030)
  await env.close()
})

/** Answers the error of this class with which a promise is rejected. */
async function caught<E extends Error>(
  type: new (...args: any[]) => E,
  promise: Promise<unknown>,
): Promise<E> {
  const error = await promise.then(
    () => assert.fail('it was fulfilled'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof type, `${error} is no ${type.name}`)
  return error
}
