/** Handles in an environment: signals, ends and children, now and later. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  abortSignal,
  all,
  CancelledError,
  ChildCancelled,
  ChildFailed,
  ExecutionCancelled,
  ExecutionFailed,
  ExecutionFinished,
  InvalidState,
  PayloadError,
  sendSignal,
  setState,
  sleep,
  waitForSignal,
} from '../src'
import type { EnvironmentHandle } from '../src/testing/index'
import { HOUR, inEnvironment } from './environments'

test(
  'signals now, later, and when something holds',
  inEnvironment(async ({ env, activity, workflow }) => {
    const prepares = activity('prepares', async () => {})
    env.replace(prepares, { takes: '1m' })
    const w = workflow('w', async () => {
      setState('preparing')
      await prepares.run()
      setState('ready')
      const found: unknown[] = []
      for (let n = 0; n < 4; n++) found.push(await waitForSignal('s'))
      return found
    })
    const handle = env.start(w)
    assert.deepEqual(handle.signal('s', 1), { delivered: true })
    assert.equal(handle.signal('s', 2, { after: '1h' }), undefined)
    handle.signal('s', 3, { when: () => handle.getState() === 'ready' })
    handle.signal('s', 4, { after: '1m', when: () => handle.waitsFor('s') })
    assert.deepEqual(await handle.result(), [1, 3, 4, 2])
    assert.equal(env.elapsed, HOUR)
    const signals = handle.history().filter(({ type }) => type === 'signal_received')
    const at = signals.map((event) => event.at.slice(11, 19))
    assert.deepEqual(at, ['00:00:00', '00:01:00', '00:02:00', '01:00:00'])
  }),
)

test(
  'a signal with a key comes once',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => [await waitForSignal('s'), await waitForSignal('s')])
    const handle = env.start(w)
    const sent = [1, 2].map((n) => handle.signal('s', n, { key: 'key' }))
    handle.signal('s', 3, { after: 1 })
    assert.deepEqual(sent, [{ delivered: true }, { delivered: false }])
    assert.deepEqual(await handle.result(), [1, 3])
    assert.deepEqual(handle.signal('s', 4, { key: 'key' }), { delivered: false })
    assert.throws(() => handle.signal('s', 5), ExecutionFinished)
    assert.throws(() => handle.signal('s', new Set()), PayloadError)
  }),
)

test(
  'a signal that comes too late fails the test',
  inEnvironment(async ({ env, workflow }) => {
    const w = workflow('w', async () => await sleep('1h'))
    const handle = env.start(w)
    handle.signal('s', null, { after: '2h' })
    assert.equal(await handle.result(), null)
    await assert.rejects(env.skip('3h'), ExecutionFinished)
  }),
)

test(
  'workflows and activities signal each other',
  inEnvironment(async ({ env, activity, workflow }) => {
    const answers = activity('answers', async (id: string) => {
      await sendSignal(id, 'answer', 'from an activity')
    })
    const ping = workflow('ping', async (id: string) => {
      await sendSignal(id, 'ball', 1)
    })
    const pong = workflow('pong', async () => [
      await waitForSignal('ball'),
      await waitForSignal('answer'),
    ])
    const handle = env.start(pong)
    await env.run(ping, handle.id)
    await env.run(answers, handle.id)
    assert.deepEqual(await handle.result(), [1, 'from an activity'])
  }),
)

test(
  'a cancel lets the workflow clean up, and a termination does not',
  inEnvironment(async ({ env, activity, workflow }) => {
    const undone: string[] = []
    const undo = activity('undo', async (name: string) => void undone.push(name))
    const endless = activity('endless', async (name: string) => {
      const signal = abortSignal()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      undone.push(`body of ${name}`)
    })
    const w = workflow('w', async (name: string) => {
      try {
        await all([endless.run(name), sleep('1d')])
      } catch (error) {
        if (error instanceof CancelledError) await undo.run(name)
        throw error
      }
    })
    const first = env.start(w, 'first')
    const second = env.start(w, 'second')
    first.cancel('', { after: '1h' })
    second.terminate('enough', { when: () => first.status() === 'cancelled' })
    for (const handle of [first, second]) await assert.rejects(handle.result(), ExecutionCancelled)
    assert.deepEqual(first.cancel(), { status: 'cancelled', changed: false })
    await env.skip()
    assert.deepEqual(undone.sort(), ['body of first', 'body of second', 'first'])
    assert.equal(env.elapsed, HOUR)
  }),
)

test(
  'children have handles',
  inEnvironment(async ({ env, activity, workflow }) => {
    const work = activity('work', async (n: number) => n)
    const child = workflow('child', async (n: number) => {
      setState(n)
      return `${n} ${await waitForSignal('go')}`
    })
    const parent = workflow('parent', async () => {
      const detached = await child.options({ closePolicy: 'detach' }).queue(9)
      const found: unknown[] = [await work.run(0)]
      for (let n = 1; n < 4; n++) {
        try {
          found.push(await child.run(n))
        } catch (error) {
          if (!(error instanceof ChildCancelled || error instanceof ChildFailed)) throw error
          found.push(error.constructor.name)
        }
      }
      return [...found, detached.id]
    })
    const handle = env.start(parent)
    await env.skip()
    const one: EnvironmentHandle<string> = handle.child(child, 2)
    assert.deepEqual([one.getState(), one.status()], [1, 'suspended'])
    one.signal('go', 'on')
    await env.skip()
    handle.child('child', 3).cancel()
    await env.skip()
    handle.child(child, 4).terminate()
    const detached = handle.child(child)
    const cancelled = ['ChildCancelled', 'ChildCancelled']
    assert.deepEqual(await handle.result(), [0, '1 on', ...cancelled, detached.id])
    assert.equal(detached.status(), 'suspended')
    detached.signal('go', 'alone')
    assert.equal(await detached.result(), '9 alone')
    assert.equal(handle.children()[1]?.execution().name, 'work')
    assert.throws(() => handle.child(child, 5), /has started 4 of child/)
  }),
)

test(
  'what failed is retried from its history',
  inEnvironment(async ({ env, activity, workflow }) => {
    const ran: string[] = []
    const good = activity('good', async () => {
      ran.push('good')
      return 1
    })
    const bad = activity(
      'bad',
      async () => {
        ran.push('bad')
        if (ran.length < 3) throw new TypeError('no')
        return 2
      },
      { retries: 0 },
    )
    const w = workflow('w', async () => (await good.run()) + (await bad.run()))
    const handle = env.start(w)
    await assert.rejects(handle.result(), ExecutionFailed)
    assert.deepEqual(handle.retry(), { status: 'pending', changed: true })
    assert.equal(await handle.result(), 3)
    assert.deepEqual(ran, ['good', 'bad', 'bad'])
    assert.equal(handle.run, 2)
    assert.throws(() => handle.retry(), InvalidState)
  }),
)
