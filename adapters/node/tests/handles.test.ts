/** What a workflow does with the handle of what it has started. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TimeoutError } from '../src/_errors'
import { ActivityCancelled } from '../src/_outcomes'
import { sleep } from '../src/_workflow'
import { activity, bothWays, Story, workflow } from './story'

const a = activity('h.a')

bothWays('what a handle cancels at once is never started, and its result says so', async (cold) => {
  const w = workflow(async () => {
    const handle = await a.queue()
    assert.ok((await handle.cancel()).changed)
    try {
      await handle.result()
    } catch (error) {
      assert.ok(error instanceof ActivityCancelled)
      await a.run(1)
      return 'cancelled'
    }
    return ''
  })
  const story = await Story.of(w, cold)
  assert.deepEqual(
    story.commands.map(({ sequence }) => sequence),
    [2],
    'the first was taken back',
  )
  assert.equal((await story.complete(2)).result, 'cancelled')
  await story.checkPrefixes()
})

bothWays('the result of what a handle cancels later is there at once', async (cold) => {
  const w = workflow(async () => {
    const handle = await a.queue()
    await a.run(1)
    assert.ok((await handle.cancel()).changed)
    try {
      await handle.result()
    } catch {
      assert.ok(!(await handle.cancel()).changed)
      await a.run(2)
      return 'cancelled'
    }
    return ''
  })
  const story = await (await Story.of(w, cold)).complete(2)
  assert.equal(story.child(1).status, 'cancelled')
  assert.equal((await story.complete(3)).result, 'cancelled')
  assert.equal(story.commands.filter(({ type }) => type === 'cancel').length, 1)
  await story.checkPrefixes()
})

for (const status of ['completed', 'failed', 'cancelled'] as const) {
  test(`a cancel that comes too late answers that it has ${status}`, async () => {
    const w = workflow(async () => {
      const handle = await a.queue(1)
      await sleep(1)
      return await handle.cancel()
    })
    const story = await Story.of(w)
    if (status === 'cancelled') story.stop(story.child(1))
    else if (status === 'completed') await story.complete(1)
    else await story.fail(1)
    assert.deepEqual((await story.later(1)).result, { status, changed: false })
  })
}

bothWays('what ends while a handle cancels it stays cancelled for the code', async (cold) => {
  const w = workflow(async () => {
    const handle = await a.queue()
    await a.run(1)
    await handle.cancel()
    try {
      return `${await handle.result()}`
    } catch (error) {
      return error instanceof ActivityCancelled ? 'cancelled' : 'other'
    }
  })
  const story = await Story.of(w, cold)
  await story.completeAll([
    [2, 2],
    [1, 1],
  ])
  assert.equal(story.result, 'cancelled')
  await story.checkPrefixes()
})

bothWays('a wait for a handle that is given up leaves what it waits for', async (cold) => {
  const w = workflow(async () => {
    const handle = await a.queue(1)
    try {
      await handle.result({ timeout: 1 })
    } catch (error) {
      return [error instanceof TimeoutError, await handle.result()]
    }
    return []
  })
  const story = await (await Story.of(w, cold)).later(2)
  assert.equal(story.child(1).status, 'pending')
  assert.deepEqual((await story.complete(1, 5)).result, [true, 5])
})

test('what a handle cannot know durably it refuses', async () => {
  const w = workflow(async () => {
    const handle = await a.queue(1)
    const told: string[] = []
    for (const use of [() => handle.status(), () => handle.getState(), () => handle.terminate()]) {
      await use().catch((error) => told.push(error.name))
    }
    return told
  })
  const refused = ['NotDurableError', 'NotDurableError', 'NotDurableError']
  assert.deepEqual((await Story.of(w)).result, refused)
})
