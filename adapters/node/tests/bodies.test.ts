/** What bodies know of their attempt, and of nothing else. */

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { abortSignal, attemptInfo, cancelled, heartbeat, lastHeartbeat } from '../src/_attempts'
import { NotDurableError } from '../src/_errors'
import { active } from '../src/_loop'
import { Rig } from './rig'

test('progress is there for the next attempt', async (t) => {
  const rig = new Rig(t)
  const seen: unknown[] = []
  const counts = rig.job(
    'counts',
    async () => {
      seen.push(lastHeartbeat())
      heartbeat({ done: 5 })
      await pause(100)
      if (seen.length === 1) throw new Error()
    },
    { retries: 1 },
  )
  const row = await rig.run(counts)
  assert.equal(row.status, 'completed')
  assert.deepEqual(seen, [null, { done: 5 }])
})

test('what an attempt knows of itself is known in it alone', async (t) => {
  const rig = new Rig(t)
  assert.throws(() => attemptInfo(), NotDurableError)
  assert.throws(() => heartbeat(), NotDurableError)
  assert.throws(() => abortSignal(), NotDurableError)
  assert.equal(cancelled(), false)
  const tells = rig.activity('tells', async () => {
    await pause(1)
    const { id, name, queue, attempt, parentId, rootId, signal } = attemptInfo()
    return { id, name, queue, attempt, parentId, rootId, same: signal === abortSignal() }
  })
  const w = rig.workflow('w', async () => await tells.run())
  const row = await rig.run(w)
  const [child] = row.children
  assert.deepEqual(row.result, {
    id: child?.id,
    name: 'tells',
    queue: 'default',
    attempt: 1,
    parentId: row.id,
    rootId: row.id,
    same: true,
  })
})

test('bodies know nothing of a workflow, and workflows nothing of an attempt', async (t) => {
  const rig = new Rig(t)
  const found: string[] = []
  const inside = () => {
    found.push(`body: ${active() === undefined}`)
    return 1
  }
  const s = rig.step('s', async () => inside())
  const a = rig.activity('a', async () => inside())
  const w = rig.workflow('w', async () => {
    await s.run()
    await a.run()
    found.push(`workflow: ${active() !== undefined}`)
    assert.throws(() => attemptInfo(), NotDurableError)
    await s.run()
    return 'done'
  })
  for (const warm of [0, 10]) {
    const worker = await rig.start({ warm, concurrency: 2 })
    const row = await rig.end(rig.queue(w))
    assert.deepEqual([row.status, row.result], ['completed', 'done'], JSON.stringify(row.error))
    await worker.close()
  }
  assert.equal(active(), undefined)
  assert.deepEqual(new Set(found), new Set(['body: true', 'workflow: true']))
})

test('what one execution keeps in its own storage reaches no other', async (t) => {
  const rig = new Rig(t)
  const storage = new AsyncLocalStorage<string>()
  const keeps = rig.job('keeps', async () => {
    const found = storage.getStore() ?? 'unset'
    storage.enterWith('set')
    await pause(1)
    return found
  })
  await rig.start()
  assert.equal((await rig.run(keeps)).result, 'unset')
  assert.equal((await rig.run(keeps)).result, 'unset')
})
