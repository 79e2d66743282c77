/** Processes that use a client: what keeps them alive, and what does not. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { Client } from '../src/_client'
import { Operation } from '../src/_operations'

const directory = mkdtempSync(join(tmpdir(), 'workflows-'))
const url = `embedded:${directory}`
const client = new Client({ url })
const deadline = { timeout: 60_000 }

before(() => client.migrate())
after(async () => {
  await client.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Runs the program, and answers its lines and its exit code. */
async function run(
  use: string,
  { id = '', onLine = (_: string) => {} } = {},
): Promise<{ lines: string[]; code: unknown }> {
  const script = join(__dirname, 'client_exit_script.ts')
  const child = spawn(process.execPath, ['--import', 'tsx', script, use, url, id], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...deadline,
    killSignal: 'SIGKILL',
  })
  const lines: string[] = []
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line)
    onLine(line)
  })
  const [code] = await once(child, 'close')
  return { lines, code }
}

async function newJob(queue: string): Promise<string> {
  const [created] = await client.create([{ kind: 'job', name: 'n', queue }])
  return created?.id ?? ''
}

async function complete(queue: string, result: unknown): Promise<void> {
  const { engine } = client
  const { worker_id } = await engine.call(Operation.START_WORKER, { queues: [queue] })
  const request = { worker_id, n: 1, wait_ms: 10_000 }
  const [{ id, lease }] = (await engine.call(Operation.CLAIM, request)).executions
  await engine.call(Operation.COMPLETE_EXECUTION, { items: [{ id, lease, result }] })
}

test('a process that waits for a result lives until it is there', deadline, async () => {
  const queue = randomUUID()
  const id = await newJob(queue)
  const onLine = (line: string) => {
    if (line === 'waiting') void complete(queue, { done: true })
  }
  const { lines, code } = await run('wait', { id, onLine })
  assert.deepEqual(lines, ['waiting', '{"done":true}', 'idle'])
  assert.equal(code, 0)
})

test('a process that closes its client ends by itself', deadline, async () => {
  assert.deepEqual(await run('close'), { lines: ['idle'], code: 0 })
})

test('closing ends the waits that are on their way', deadline, async () => {
  const { lines, code } = await run('closeWhileWaiting', { id: await newJob(randomUUID()) })
  assert.match(lines[0] ?? '', /^Closed: /)
  assert.equal(code, 0)
})

test('a process that forgets to close its client ends all the same', deadline, async () => {
  assert.deepEqual(await run('forget'), { lines: ['pending', 'idle'], code: 0 })
})

test('a client is closed at the end of its block', deadline, async () => {
  assert.deepEqual(await run('fail'), { lines: ['true', 'idle'], code: 0 })
})
