/** How a process that has used the library ends. */

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Engine } from '../src/_engine'
import { Operation } from '../src/_operations'
import { host, scratch, well } from './hosts'

const URL = `embedded:${join(scratch(), 'database')}`
let keeper: Engine

// Held open, so that the programs need not start the server.
before(async () => {
  keeper = Engine.shared(URL)
  await keeper.call(Operation.MIGRATE, {})
})
after(async () => await keeper.close())

const OPEN = `const engine = Engine.shared('${URL}'); await engine.call(Operation.STATS, {});`
const WAIT = `
  const item = { kind: 'job', name: 'x', queue: 'nobody' }
  const { results } = await engine.call(Operation.CREATE_EXECUTION, { items: [item] })
  const wait = { id: results[0].id, wait_ms: 25_000 }`

test('a process ends by itself after close()', async () => {
  const ended = well(await host(`${OPEN} await engine.close(); console.log('leaving')`).ended)
  assert.ok(ended.leftAfter < 1000, `${ended.leftAfter} ms`)
})

test('a process ends by itself without close(), when nothing is on its way', async () => {
  const ended = well(await host(`${OPEN} console.log('leaving')`).ended)
  assert.ok(ended.leftAfter < 1500, `${ended.leftAfter} ms`)
})

test('a call on its way keeps the process alive, and an idle one does not', async () => {
  const waiting = `${OPEN} ${WAIT}
    wait.wait_ms = 700
    const started = performance.now()
    engine.call(Operation.WAIT_EXECUTION, wait, { idle: process.env.IDLE === '1' })
      .then(() => console.log('answered'))`
  assert.equal(well(await host(waiting, { IDLE: '0' }).ended).stdout, 'answered\n')
  assert.equal(well(await host(waiting, { IDLE: '1' }).ended).stdout, '')
})

test('process.exit() with calls in flight takes less than a second and keeps the status', async () => {
  const program = `${OPEN} ${WAIT}
    for (let n = 0; n < 100; n++) engine.call(Operation.WAIT_EXECUTION, wait).catch(() => {})
    setTimeout(() => leave(7), 100)`
  const ended = await host(program).ended
  assert.equal(ended.status, 7, ended.stderr)
  assert.ok(ended.leftAfter < 1000, `${ended.leftAfter} ms`)
})

test('process.exit() while it connects takes less than a second, and listeners run', async (t) => {
  const silent = createServer(() => {})
  await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done))
  t.after(() => silent.close())
  const { port } = silent.address() as { port: number }
  const program = `
    process.on('exit', () => console.log('listener'))
    const url = 'postgres://u@127.0.0.1:${port}/x?sslmode=disable'
    Engine.shared(url).call(Operation.STATS, {}).catch(() => {})
    process.on('exit', () => console.log('late listener'))
    setTimeout(() => leave(7), 200)`
  const ended = await host(program).ended
  assert.equal(ended.status, 7, ended.stderr)
  assert.equal(ended.stdout, 'leaving\nlistener\nlate listener\n')
  assert.ok(ended.leftAfter < 1000, `${ended.leftAfter} ms`)
})

test('Ctrl-C ends a process that waits for an answer', async () => {
  const child = host(`${OPEN} ${WAIT}
    console.log('waiting')
    await engine.call(Operation.WAIT_EXECUTION, wait)`)
  child.stdout?.once('data', () => child.kill('SIGINT'))
  const ended = await child.ended
  assert.equal(ended.signal, 'SIGINT', `${ended.stdout}${ended.stderr}`)
})
