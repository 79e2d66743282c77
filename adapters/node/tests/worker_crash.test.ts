/** Workers on a real database that are killed, stopped, and told to end. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from '../src/_client'
import { Stage, temporary } from './stage'
import { callsSlow, many, quickJob, slowJob, stepsSlow } from './stage_functions'

const URL = `embedded:${temporary()}`
// Keeps the server running from one test to the next.
const keeper = new Client({ url: URL, schema: 'keeper' })
test.before(async () => void (await keeper.migrate()))
test.after(async () => await keeper.close())

for (const [place, fn] of [
  ['an activity', callsSlow],
  ['a step', stepsSlow],
] as const) {
  test(`kill -9 in the middle of ${place}: another worker finishes, from the history`, async (t) => {
    const stage = new Stage(t, URL)
    const first = stage.spawn('first')
    const handle = await fn.queue()
    await stage.until(() => stage.count('slow began') === 1, 'the body to begin')
    first.kill('SIGKILL')
    const second = stage.spawn('second')
    await stage.until(() => stage.count('slow began', 'second') === 1, 'the body to begin again')
    stage.open()
    assert.deepEqual(await handle.result({ timeout: 20 }), [1, 'second', 2])
    assert.equal(stage.count('marks 1'), 1, 'what was recorded is not run again')
    assert.doesNotMatch(second.output, /ERROR/)
  })
}

for (const warm of ['0', '100']) {
  test(`kill -9 in the middle of a workflow, with ${warm} in memory`, async (t) => {
    const stage = new Stage(t, URL)
    const first = stage.spawn('first', { WORKFLOWS_WORKER_WARM: warm })
    const handle = await many.queue()
    await stage.until(() => stage.count('marks 5') === 1, 'the fifth activity')
    first.kill('SIGKILL')
    stage.spawn('second', { WORKFLOWS_WORKER_WARM: warm })
    await handle.signal('go', { from: 'outside' })
    assert.deepEqual(await handle.result({ timeout: 20 }), [210, { from: 'outside' }, 'done'])
    const ran = new Map<string, number>()
    for (const { what } of stage.journal()) ran.set(what, (ran.get(what) ?? 0) + 1)
    assert.equal(ran.size, 20)
    const twice = [...ran.values()].filter((times) => times > 1).length
    assert.ok(twice <= 1, `only what ran as the worker died may have run again: ${twice}`)
  })
}

test('SIGSTOP past the timeout: late writes are refused, and the worker goes on', async (t) => {
  const stage = new Stage(t, URL)
  const first = stage.spawn('first', {}, ['jobs', 'first'])
  const handle = await slowJob.queue()
  await stage.until(() => stage.count('slow began', 'first') === 1, 'the body to begin')
  first.kill('SIGSTOP')
  stage.spawn('second', {}, ['jobs'])
  await stage.until(() => stage.count('slow began', 'second') === 1, 'the other to begin')
  stage.open()
  assert.equal(await handle.result({ timeout: 20 }), 'second')
  first.kill('SIGCONT')
  await stage.until(() => stage.count('slow ended', 'first') === 1, 'the late end')
  await stage.until(() => /was lost|was not taken/.test(first.output), 'the refusal to be told')
  const { status, result } = await stage.client.get(handle.id)
  assert.deepEqual([status, result], ['completed', 'second'])
  const next = await quickJob.options({ queue: 'first' }).queue()
  assert.equal(await next.result({ timeout: 20 }), 'first', 'it works as if new')
})

test('SIGTERM: what runs ends, nothing more is claimed, and the process ends', async (t) => {
  const stage = new Stage(t, URL)
  const worker = stage.spawn('first', { WORKFLOWS_WORKER_MAX_CONCURRENT: '1' }, ['jobs'])
  const running = await slowJob.queue()
  const waiting = await slowJob.queue()
  await stage.until(() => stage.count('slow began') === 1, 'the body to begin')
  worker.kill('SIGTERM')
  await stage.until(() => /is stopping; what runs, 1 in number/.test(worker.output), 'the drain')
  stage.open()
  assert.equal(await worker.ended, 0, worker.output)
  assert.equal(await running.result({ timeout: 5 }), 'first')
  assert.equal(await waiting.status(), 'pending')
  assert.match(worker.output, /has stopped; executions put back: 0/)
})

test('a second SIGTERM puts back what runs, which counts as no attempt', async (t) => {
  const stage = new Stage(t, URL)
  const worker = stage.spawn('first', {}, ['jobs'])
  const running = await slowJob.queue()
  await stage.until(() => stage.count('slow began') === 1, 'the body to begin')
  worker.kill('SIGTERM')
  await stage.until(() => /is stopping/.test(worker.output), 'the drain')
  worker.kill('SIGTERM')
  await stage.until(() => /executions put back: 1/.test(worker.output), 'the end')
  const { status, failures } = await stage.client.get(running.id)
  assert.deepEqual([status, failures ?? 0], ['pending', 0])
})
