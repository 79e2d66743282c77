/** The worker on a real database, in the process of the test. */

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from '../src/_client'
import { setLogger } from '../src/_log'
import { Worker } from '../src/_worker'
import { Stage, temporary } from './stage'
import { everything, leaf, quickJob } from './stage_functions'

const DIRECTORY = temporary()
const URL = `embedded:${DIRECTORY}`
const keeper = new Client({ url: URL, schema: 'keeper' })
test.before(async () => void (await keeper.migrate()))
test.after(async () => await keeper.close())

const NEVER_DEAD = { heartbeatInterval: 0.2, heartbeatTimeout: 20, pollInterval: 0.5 }

for (const warm of [0, 100]) {
  test(`activities, steps, timers, signals and children, with ${warm} in memory`, async (t) => {
    const stage = new Stage(t, URL)
    process.env.STAGE_DIRECTORY = stage.directory
    await using worker = await new Worker({ warm, ...NEVER_DEAD }).start()
    const handles = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => await everything.queue(n)),
    )
    for (const handle of handles.values()) await handle.signal('go', 'news')
    for (const [n, handle] of handles.entries()) {
      assert.deepEqual(await handle.result({ timeout: 20 }), [n, n, 10 * n, 'news'])
    }
    await stage.until(() => worker.isIdle, 'the worker to hold nothing')
  })
}

test('a worker has ended when close() answers, and what it held is free', async (t) => {
  const stage = new Stage(t, URL)
  const worker = await new Worker(NEVER_DEAD).start()
  assert.equal(await quickJob.run(), 'here')
  await worker.close()
  await worker.close() // twice is no harm
  const { workers } = await stage.client.stats()
  const told = workers.find(({ id }) => id === worker.workerId)
  assert.deepEqual([told?.status, told?.running, told?.language], ['stopped', 0, 'node'])
})

test('PostgreSQL crashes and comes back under load: nothing is lost, no restart needed', async (t) => {
  const directory = temporary()
  const url = `embedded:${directory}`
  const lines: string[] = []
  const keep = (line: string) => void lines.push(line)
  setLogger({ debug: keep, info: keep, warn: keep, error: keep })
  t.after(() => setLogger())
  const stage = new Stage(t, url)
  await stage.client.migrate()
  process.env.STAGE_DIRECTORY = stage.directory
  await using worker = await new Worker({ concurrency: 20, ...NEVER_DEAD }).start()
  const items = Array.from({ length: 300 }, (_, n) => ({
    kind: 'workflow' as const,
    name: leaf.functionName,
    args: [n],
  }))
  const created = await stage.client.create(items)
  await stage.until(async () => (await done(stage)) > 20, 'some to end')
  crash(directory)
  await pause(300)
  const opener = new Client({ url, schema: 'opener', migrate: false })
  await stage.until(async () => await isUp(opener), 'PostgreSQL to come back')
  for (const [n, { id }] of created.entries()) {
    const { status, result } = await stage.client.wait(id, { timeout: 30 })
    assert.deepEqual([status, result], ['completed', n])
  }
  assert.equal(worker.failure, undefined)
  await opener.close()
})

async function done(stage: Stage): Promise<number> {
  const page = await stage.client.list({ status: 'completed', limit: 1000 })
  return page.executions.length
}

/** Stops the server as `pg_ctl stop -m immediate` does. */
function crash(directory: string): void {
  const pidFile = join(directory, 'data', 'postmaster.pid')
  assert.ok(existsSync(pidFile), pidFile)
  process.kill(Number(readFileSync(pidFile, 'utf8').split('\n', 1)[0]), 'SIGQUIT')
}

async function isUp(client: Client): Promise<boolean> {
  try {
    await client.stats()
    return true
  } catch (error) {
    const { code } = error as { code?: string }
    return code === 'schema_missing'
  }
}
