/** A worker of each language, side by side on one queue. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Client } from '../src/_client'
import { all } from '../src/_combinators'
import { activity, workflow } from '../src/_functions'
import { ActivityError } from '../src/_outcomes'
import { waitForSignal } from '../src/_workflow'
import { PYTHON, Stage, temporary } from './stage'

const URL = `embedded:${temporary()}`
const keeper = new Client({ url: URL, schema: 'keeper' })
test.before(async () => void (await keeper.migrate()))
test.after(async () => await keeper.close())

const skip = PYTHON === undefined && 'no Python with the adapter: set WORKFLOWS_TEST_PYTHON'

const MODULE = `
from workflows import activity, gather, wait_for_signal, workflow

@activity(name="py.double", queue="py")
async def py_double(x): return 2 * x

@activity(name="py.fails", queue="py", retries=0)
async def py_fails(): raise LookupError("not here")

@activity(name="node.square", queue="node")
async def node_square(x): raise NotImplementedError

@workflow(name="both.same")
async def same(n):
    told = ["python"]
    for _ in range(3):
        await wait_for_signal("next")
        told.append("python")
    return told

@workflow(name="py.flow")
async def flow(n):
    return sum(await gather(node_square.run(n), py_double.run(n)))
`

const pyDouble = activity.external<(x: number) => number>({ name: 'py.double', queue: 'py' })
const pyFails = activity.external<() => null>({ name: 'py.fails', queue: 'py', retries: 0 })
const nodeSquare = activity({ name: 'node.square', queue: 'node' }, async (x: number) => x * x)
const pyFlow = workflow.external<(n: number) => number>({ name: 'py.flow', queue: 'py' })

const same = workflow('both.same', async (_n: number) => {
  const told = ['node']
  for (let n = 0; n < 3; n++) {
    await waitForSignal('next')
    told.push('node')
  }
  return told
})

// Of a queue that both serve: Python puts the first back, and is handed no more.
const flow = workflow({ name: 'node.flow' }, async (n: number) => {
  const [one, other] = await all([nodeSquare.run(n), pyDouble.run(n)])
  const child = await pyFlow.run(n)
  const failure = await pyFails.run().catch((error: unknown) => error)
  assert.ok(failure instanceof ActivityError)
  return [
    one,
    other,
    child,
    failure.type,
    failure.message,
    String(failure.stack).includes('not here'),
  ]
})

const TIMES = { heartbeatInterval: 0.2, heartbeatTimeout: 20, pollInterval: 0.2, concurrency: 20 }

async function sideBySide(t: TestContext, concurrency = TIMES.concurrency): Promise<Stage> {
  const stage = new Stage(t, URL)
  writeFileSync(join(stage.directory, 'flows.py'), MODULE)
  await stage.start({ queues: ['default', 'node', 'py'], ...TIMES, concurrency })
  const python = stage.spawnPython('flows', ['default', 'py'])
  await stage.until(() => /serves queues default py/.test(python.output), 'Python to serve')
  return stage
}

test('each takes its own workflows only, and goes on with what it began', { skip }, async (t) => {
  const stage = await sideBySide(t, 2) // what this process starts it would take itself
  const handles = await Promise.all(Array.from({ length: 40 }, async (_, n) => await same.queue(n)))
  for (let n = 0; n < 3; n++) {
    for (const handle of handles) await handle.signal('next')
  }
  const languages = new Set<string>()
  for (const handle of handles) {
    const told = await handle.result({ timeout: 30 })
    const { language } = await stage.client.get(handle.id)
    assert.deepEqual(told, [language, language, language, language])
    languages.add(language ?? '')
  }
  assert.deepEqual([...languages].sort(), ['node', 'python'], 'both had a share')
})

test('activities and children run by name in the other language', { skip }, async (t) => {
  await sideBySide(t)
  const [one, other, child, type, message, hasStack] = await flow.run(5)
  assert.deepEqual([one, other, child], [25, 10, 35])
  assert.deepEqual([type, hasStack], ['LookupError', true])
  assert.match(message as string, /not here/)
})
