/** Versions of workflow code: R6 to R8 of the behaviours. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getVersion, waitForSignal } from '../src/_workflow'
import { activity, bothWays, numbers, Story, workflow } from './story'

const a = activity('v.a')
const b = activity('v.b')

for (const place of ['before', 'after']) {
  // R6: in Node.
  test(`a version is the minimum ${place} a point that was passed`, async () => {
    const old = workflow(async () => {
      await a.run() // R6
      await b.run()
      return 0
    })
    const changed = workflow(async () => {
      let version = place === 'before' ? getVersion('c', 1, 2) : 0
      await a.run()
      version ||= getVersion('c', 1, 2)
      await b.run()
      return version
    })
    const story = await (await Story.of(old)).complete(1)
    assert.equal((await story.deploy(changed).complete(2)).result, 1)
    const fresh = await Story.of(changed)
    await fresh.complete(place === 'after' ? 1 : 2)
    await fresh.complete(3)
    assert.equal(fresh.result, 2)
    assert.equal(fresh.types.filter((type) => type === 'version_marked').length, 1)
    await fresh.checkPrefixes()
  })
}

for (const place of ['before', 'at']) {
  // R6: it waits there, or has heard a signal since; a crash forgets none of that.
  test(`a version is the minimum ${place} a point where it has only waited since`, async () => {
    const old = workflow(async () => {
      await a.run()
      await waitForSignal('one')
      await waitForSignal('two')
      return 0
    })
    const changed = workflow(async () => {
      await a.run()
      let version = place === 'before' ? getVersion('c', 1, 2) : 0
      await waitForSignal('one')
      version ||= getVersion('c', 1, 2)
      await waitForSignal('two')
      return version
    })
    const story = await (await Story.of(old)).complete(1)
    await (await story.signal('one')).deploy(changed).signal('three')
    story.crash().row.seen = 0 // nobody knows any more what code had seen
    assert.equal((await story.signal('two')).result, 1)
    assert.equal(story.types.filter((type) => type === 'version_marked').length, 1)
    const fresh = await (await Story.of(changed)).signal('one')
    await fresh.complete(1)
    assert.equal((await fresh.signal('two')).result, 2)
    await fresh.checkPrefixes()
  })
}

bothWays('a change has one version within a workflow', async (cold) => {
  const w = workflow(async () => {
    const found: number[] = [] // R7
    for (const _ of numbers(3)) {
      found.push(getVersion('c', 1, 2))
      await a.run()
    }
    return [...found, getVersion('c', 1, 2)]
  })
  const story = await Story.of(w, cold)
  for (const sequence of [2, 3, 4]) await story.complete(sequence)
  assert.deepEqual(story.result, [2, 2, 2, 2])
  assert.equal(story.types.filter((type) => type === 'version_marked').length, 1)
})

// R7: in Node.
test('a loop that began with the old code stays with the old version', async () => {
  const old = workflow(async () => {
    for (const _ of numbers(3)) await a.run() // R7
  })
  const changed = workflow(async () => {
    const found: number[] = []
    for (const _ of numbers(3)) {
      found.push(getVersion('c', 1, 2))
      await a.run()
    }
    return found
  })
  const story = await (await Story.of(old)).complete(1)
  await story.deploy(changed).complete(2)
  assert.deepEqual((await story.complete(3)).result, [1, 1, 1])
})

// R8: in Node.
test('a version that the code no longer has is an error', async () => {
  const code = (low: number, high: number) =>
    workflow(async () => {
      const version = getVersion('c', low, high) // R8
      await a.run()
      return version
    })
  const story = await (await Story.of(code(1, 1))).deploy(code(2, 3)).complete(2)
  assert.equal(story.status, 'failed')
  assert.equal(story.error.type, 'VersionError')
  assert.match(story.error.message, /recorded version 1 of 'c', and this code knows 2 to 3/)
})

test('removing getVersion is harmless', async () => {
  const old = workflow(async () => {
    getVersion('c', 1, 2) // R8
    const first = await a.run()
    getVersion('d', 1, 2)
    return first + (await b.run())
  })
  const changed = workflow(async () => (await a.run()) + (await b.run()))
  const story = await (await Story.of(old)).complete(2, 1)
  assert.equal((await story.deploy(changed).complete(4, 2)).result, 3)
})

test('versions that make no sense are refused where they are asked for', () => {
  assert.throws(() => getVersion('c', 2, 1), RangeError)
  assert.throws(() => getVersion('c', 1.5, 2), TypeError)
  assert.throws(() => getVersion('', 1, 2), RangeError)
  assert.equal(getVersion('c', 1, 2), 2, 'outside workflows it is the newest')
})
