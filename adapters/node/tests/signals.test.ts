/** Signals and waits: S1 to S13, and the cancelling of a workflow, C5 and C6. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { race, shield, timeout } from '../src/_combinators'
import { CancelledError, SignalTimeout, TimeoutError } from '../src/_errors'
import { sleep, waitForSignal } from '../src/_workflow'
import { activity, bothWays, numbers, Story, workflow } from './story'

const a = activity('s.a')
const undo = activity('undo')

bothWays('a signal sent before the start is returned by the first wait', async (cold) => {
  const w = workflow(() => waitForSignal<number>('s')) // S1
  const story = await Story.of(w, { ...cold, start: false })
  await story.signal('s', 5)
  assert.deepEqual(story.types.slice(0, 2), ['signal_received', 'started'])
  assert.equal(story.result, 5)
})

bothWays('three signals meet three waits in order, also after a crash', async (cold) => {
  const w = workflow(async () => {
    const found: number[] = [] // S3
    for (const _ of numbers(3)) found.push(await waitForSignal('s'))
    await a.run()
    return found
  })
  const story = await (await Story.of(w, cold)).signal('s', 1)
  await story.crash().signal('s', 2)
  await story.signal('s', 3)
  assert.deepEqual((await story.crash().complete(1)).result, [1, 2, 3])
  await story.checkPrefixes()
})

bothWays('a signal of another name stays for a later wait', async (cold) => {
  const w = workflow(async () => (await waitForSignal('b')) + (await waitForSignal('a'))) // S4
  const story = await (await Story.of(w, cold)).signal('a', '1')
  assert.equal((await story.signal('b', '2')).result, '21')
})

test('waits take signals in the order in which they were called', async () => {
  const w = workflow(async () => {
    const [first, second] = [waitForSignal('s'), waitForSignal('s')]
    return [await second, await first]
  })
  const story = await (await Story.of(w)).signal('s', 1)
  assert.deepEqual((await story.signal('s', 2)).result, [2, 1])
})

bothWays('a wait that was cancelled takes no signal', async (cold) => {
  const w = workflow(async () => {
    const [name] = await race({ signal: waitForSignal('s'), timer: sleep(1) })
    assert.equal(name, 'timer')
    return await waitForSignal('s')
  })
  const story = await (await Story.of(w, cold)).later(2)
  assert.equal((await story.signal('s', 3)).result, 3)
})

bothWays('a wait times out with an error that can be caught', async (cold) => {
  const w = workflow(async () => {
    try {
      await waitForSignal('x', { timeout: 1 }) // S6
    } catch (error) {
      assert.ok(error instanceof SignalTimeout && error instanceof TimeoutError)
      return [error.signalName, error.message]
    }
    return []
  })
  const story = await (await Story.of(w, cold)).later(2)
  assert.deepEqual(story.result, ['x', "no signal 'x' came within 1 s"])
})

test('a recorded timeout stays one when a late signal is replayed', async () => {
  const w = workflow(async () => {
    const found: string[] = [] // S7
    await waitForSignal('x', { timeout: 1 }).catch(() => found.push('timeout'))
    await a.run()
    return [...found, await waitForSignal('x')]
  })
  const story = await (await (await Story.of(w)).later(2)).signal('x', 'late')
  assert.deepEqual((await story.complete(2)).result, ['timeout', 'late'])
  await story.checkPrefixes()
})

bothWays('a signal in time cancels the timer once', async (cold) => {
  const w = workflow(async () => {
    const found = await waitForSignal('x', { timeout: 60 })
    await a.run()
    return found
  })
  const story = await (await Story.of(w, cold)).signal('x', 1)
  assert.equal((await story.crash().complete(2)).result, 1)
  assert.deepEqual(story.commands.map(({ type }) => type).sort(), [
    'cancel',
    'schedule',
    'start_timer',
  ])
})

test('the timer of a wait has a name that PostgreSQL can hold', async () => {
  const name = `${'ä'.repeat(127)}b` // 255 bytes
  const w = workflow(() => waitForSignal(name, { timeout: 1 }))
  const [command] = (await Story.of(w)).commands
  assert.ok(command?.name?.startsWith('signal ää'))
  assert.ok(Buffer.byteLength(command?.name ?? '') <= 255)
  assert.ok(!command?.name?.includes('\ufffd'))
})

bothWays('a signal while an activity is awaited does not issue it again', async (cold) => {
  const w = workflow(async () => (await a.run()) + (await waitForSignal('s'))) // S13
  const story = await (await Story.of(w, cold)).signal('s', 1)
  assert.equal((await story.complete(1, 2)).result, 3)
  assert.equal(story.commands.length, 1)
})

test('a name that is no name is an error where it is used', async () => {
  for (const name of ['', 'x'.repeat(256), 7 as any]) {
    const story = await Story.of(workflow(() => waitForSignal(name)))
    assert.match(story.error.message, /^name must/)
  }
})

// --- cancel ---

bothWays('a cancel ends a waiting workflow', async (cold) => {
  const w = workflow(() => sleep(3600)) // C1
  const story = await (await Story.of(w, cold)).cancel()
  assert.equal(story.status, 'cancelled')
  assert.equal(story.error.type, 'CancelledError')
})

bothWays('compensations run once, in order, and the workflow ends cancelled', async (cold) => {
  const w = workflow(async () => {
    try {
      await a.run(1) // C6
      await a.run(2)
    } catch (error) {
      assert.ok(error instanceof CancelledError)
      await undo.run(1)
      await timeout(60, () => undo.run(2))
    }
    return 'swallowed'
  })
  const story = await (await (await Story.of(w, cold)).complete(1)).cancel()
  assert.equal(story.child(2).status, 'cancelled')
  ;(await story.complete(3)).crash()
  await story.complete(5)
  assert.equal(story.status, 'cancelled')
  const scheduled = story.commands.filter(({ type }) => type === 'schedule')
  assert.deepEqual(
    scheduled.map(({ execution }) => execution?.name),
    ['s.a', 's.a', 'undo', 'undo'],
  )
})

test('a cancel is delivered once, and what fails in a clean-up is not cancelled again', async () => {
  const w = workflow(async () => {
    try {
      await sleep(60)
    } catch {
      await Promise.all([undo.run(1)]).catch(() => {})
      await undo.run(2)
    }
  })
  const story = await (await (await Story.of(w)).cancel()).fail(2)
  assert.deepEqual(story.child(3).args, [2])
  assert.equal((await story.complete(3)).status, 'cancelled')
})

bothWays('a shielded wait goes on', async (cold) => {
  const w = workflow(async () => {
    const call = a.run()
    try {
      return await shield(call)
    } catch {
      return await call
    }
  })
  const story = await (await Story.of(w, cold)).cancel()
  assert.equal(story.child(1).status, 'pending', 'what is shielded is not cancelled')
  assert.equal((await story.complete(1, 4)).status, 'cancelled')
})

bothWays('a shielded function goes on with all that it calls', async (cold) => {
  const done: number[] = []
  const w = workflow(async () => {
    const work = async () => {
      done.push(await a.run(1))
      done.push(await a.run(2))
    }
    let running: Promise<void> | undefined
    try {
      await shield(() => {
        running = work()
        return running
      })
    } catch {
      await running
    }
  })
  const story = await (await Story.of(w, cold)).cancel()
  await (await story.complete(1, 1)).complete(2, 2)
  assert.equal(story.status, 'cancelled')
  assert.deepEqual(done.slice(-2), [1, 2])
})

test('a cancel that comes with the end is cancelled', async () => {
  const story = await Story.of(workflow(() => a.run())) // C5
  story.engine.end(story.child(1), 'completed', { result: 1 })
  story.stop(story.row)
  assert.equal((await story.go()).status, 'cancelled')
})
