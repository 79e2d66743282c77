/** Workflow code that never lets go of its thread is told of, by another thread. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { came, goes, isWatched, watch } from '../src/_watchdog'
import { start } from './hosts'

function spinning(where: string) {
  return start(['--import', 'tsx', 'tests/spinning_worker.ts', where])
}

test('a workflow that spins on microtasks is named, with what to do', async () => {
  const child = spinning('workflow')
  child.stderr?.once('data', () => child.kill('SIGTERM')) // in vain, as it says
  const deaf = setTimeout(() => child.kill('SIGKILL'), 5000)
  const { signal, stderr } = await child.ended
  clearTimeout(deaf)
  assert.equal(signal, 'SIGKILL', stderr)
  const lines = stderr.trim().split('\n')
  assert.equal(lines.length, 1, 'it says so once')
  const told = /ERROR the code of workflow spins \S{36} has kept its thread for 0\.25 s /
  assert.match(stderr, told)
  assert.ok(stderr.includes(`kill -9 ${child.pid}`), stderr)
  assert.match(stderr, /keeps its lease/)
})

test('what else keeps the thread is not blamed on a workflow, and the process ends', async () => {
  const { status, stdout, stderr } = await spinning('elsewhere').ended
  assert.deepEqual([status, stdout, stderr], [0, 'completed\n', ''])
})

test('the other thread ends when no workflow code has run for a while, and comes back', async () => {
  const ended = async () => {
    const deadline = performance.now() + 5000
    while (isWatched() && performance.now() < deadline) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    return !isWatched()
  }
  watch(5000, 20)
  const place = goes('w', 'id')
  assert.notEqual(place, undefined, 'it is watched from now on')
  const began = performance.now()
  while (performance.now() - began < 100) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(isWatched(), 'code runs')
  came(place)
  assert.ok(await ended(), 'nothing runs')
  assert.equal(goes('w', 'id'), undefined)
  watch(5000, 20)
  assert.ok(isWatched())
  assert.ok(await ended())
})
