/** What workflow code must not ask of the globals. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import * as nodeCrypto from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import * as timers from 'node:timers'
import * as promises from 'node:timers/promises'
import { promisify, types } from 'node:util'
import { installGuards } from '../src/_guards'
import { activity, Story, step, workflow } from './story'

const run = promisify(execFile)
const format = new Intl.DateTimeFormat('en')
const original = { Date, setTimeout, random: Math.random }
installGuards()
installGuards()

const a = activity('g.a')

const GUARDED: [name: string, use: () => unknown, instead: RegExp][] = [
  ['Date.now()', () => Date.now(), /use now\(\)/],
  ['new Date()', () => new Date(), /use now\(\)/],
  ['Date()', () => Date(), /use now\(\)/],
  ['performance.now()', () => performance.now(), /use now\(\)/],
  ['Math.random()', () => Math.random(), /use random\(\)/],
  ['crypto.randomUUID()', () => crypto.randomUUID(), /uuid4\(\)/],
  ['crypto.randomUUID()', () => nodeCrypto.randomUUID(), /uuid4\(\)/],
  ['crypto.getRandomValues()', () => crypto.getRandomValues(new Uint8Array(1)), /uuid4\(\)/],
  ['crypto.getRandomValues()', () => nodeCrypto.getRandomValues(new Uint8Array(1)), /uuid4\(\)/],
  ['crypto.randomBytes()', () => nodeCrypto.randomBytes(1), /random\(\)/],
  ['crypto.randomInt()', () => nodeCrypto.randomInt(9), /random\(\)/],
  ['crypto.randomFillSync()', () => nodeCrypto.randomFillSync(new Uint8Array(1)), /random\(\)/],
  ['process.hrtime()', () => process.hrtime(), /use now\(\)/],
  ['process.hrtime.bigint()', () => process.hrtime.bigint(), /use now\(\)/],
  ['process.uptime()', () => process.uptime(), /use now\(\)/],
  ['format()', () => format.format(), /use now\(\)/],
  ['format()', () => [undefined].map(format.format), /use now\(\)/],
  ['formatToParts()', () => format.formatToParts(), /use now\(\)/],
  ['setTimeout()', () => timers.setTimeout(() => {}, 1), /use sleep\(\)/],
  ['setInterval()', () => timers.setInterval(() => {}, 1), /use sleep\(\)/],
  ['setImmediate()', () => timers.setImmediate(() => {}), /use sleep\(\)/],
  ['setTimeout()', () => promises.setTimeout(1), /use sleep\(\)/],
  ['setImmediate()', () => promises.setImmediate(1), /use sleep\(\)/],
  ['setInterval()', () => promises.setInterval(1), /use sleep\(\)/],
  ['setTimeout()', () => promisify(setTimeout)(1), /use sleep\(\)/],
  ['scheduler.wait()', () => promises.scheduler.wait(1), /use sleep\(\)/],
  ['scheduler.yield()', () => promises.scheduler.yield(), /use sleep\(\)/],
  ['AbortSignal.timeout()', () => AbortSignal.timeout(1), /use timeout\(\)/],
  ['setTimeout()', () => setTimeout(() => {}, 1), /use sleep\(\)/],
  ['setInterval()', () => setInterval(() => {}, 1), /use sleep\(\)/],
  ['setImmediate()', () => setImmediate(() => {}), /use sleep\(\)/],
  ['fetch()', () => fetch('http://localhost'), /use an activity/],
  ['process.exit()', () => process.exit(3), /throw an error/],
]

for (const [index, [name, use, instead]] of GUARDED.entries()) {
  test(`${name} says in workflow code that it is not durable (${index})`, async () => {
    const w = workflow(async () => {
      await a.run()
      const before = isTold(use)
      const [after] = await Promise.all([null].map(async () => isTold(use)))
      return [before, after]
    })
    const { result } = await (await Story.of(w)).complete(1)
    assert.equal(result[0], result[1])
    assert.ok(result[0].startsWith(`NotDurableError: ${name} is not durable inside a workflow: `))
    assert.match(result[0], instead)
  })
}

function isTold(use: () => unknown): string {
  try {
    use()
  } catch (error) {
    return String(error)
  }
  return 'nothing'
}

test('elsewhere they are what they were', async () => {
  const date = new Date()
  assert.ok(Math.abs(Date.now() - date.getTime()) < 100)
  assert.equal(typeof Date(), 'string')
  assert.ok(performance.now() > 0)
  assert.ok(Math.random() < 1)
  assert.equal(crypto.randomUUID().length, 36)
  assert.equal(crypto.getRandomValues(new Uint8Array(4)).length, 4)
  await new Promise((resolve) => setTimeout(resolve, 1))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(await promisify(setTimeout)(1, 'promisified'), 'promisified')
  assert.equal(await promises.setTimeout(1, 'promise'), 'promise')
  await promises.scheduler.wait(1)
  for await (const _ of promises.setInterval(1)) break
  assert.equal(process.hrtime().length, 2)
  assert.equal(typeof process.hrtime.bigint(), 'bigint')
  assert.ok(process.uptime() > 0)
  assert.equal(nodeCrypto.randomBytes(4).length, 4)
  assert.ok(nodeCrypto.randomInt(9) < 9)
  assert.equal(AbortSignal.timeout(1000).aborted, false)
  assert.match(format.format(), /^\d+\/\d+\/\d+$/)
  assert.equal(format.format, format.format)
  assert.equal(timers.setTimeout, setTimeout)
})

test('a date that is given is formatted in workflow code', async () => {
  const utc = new Intl.DateTimeFormat('en', { timeZone: 'UTC' })
  const w = workflow(() => [
    utc.format(0),
    utc.format(new Date(0)),
    utc.formatToParts(0).length,
    new Date(0).toLocaleDateString('en', { timeZone: 'UTC' }),
  ])
  assert.deepEqual((await Story.of(w)).result, ['1/1/1970', '1/1/1970', 5, '1/1/1970'])
})

test('what an ES module imports by name is guarded, and is itself elsewhere', async () => {
  const script = join(__dirname, 'guards_by_name.mjs')
  const { stdout } = await run(process.execPath, ['--import', 'tsx', script])
  const told = JSON.parse(stdout)
  assert.equal(told.length, 8)
  for (const [name, inside, outside] of told) {
    assert.equal(inside, 'NotDurableError', name)
    assert.equal(outside, 'nothing', name)
  }
})

test('steps may ask for the time and for chance', async () => {
  const s = step('s', () => [typeof Date.now(), typeof Math.random(), typeof new Date()])
  assert.deepEqual((await Story.of(workflow(() => s.run()))).result, ['number', 'number', 'object'])
})

test('dates of a given time work in workflow code', async () => {
  const w = workflow(() => {
    class Birthday extends Date {}
    const given = new Date(0)
    return [
      given.toISOString(),
      new Date(2026, 0).getMonth(),
      Date.UTC(2026),
      Date.parse('2026-01-01T00:00:00Z'),
      new Birthday(5).getTime(),
      new Birthday(5) instanceof Birthday,
    ]
  })
  const { result } = await Story.of(w)
  assert.deepEqual(result, ['1970-01-01T00:00:00.000Z', 0, 1767225600000, 1767225600000, 5, true])
})

test('a guarded Date is still Date to everybody', () => {
  const date = new Date(0)
  assert.ok(date instanceof Date && date instanceof original.Date && types.isDate(date))
  assert.ok(new original.Date(0) instanceof Date)
  assert.equal(date.constructor, Date)
  assert.equal(Date.name, 'Date')
  assert.equal(Date.length, 7)
  assert.equal(structuredClone(date).getTime(), 0)
  assert.notEqual(Date, original.Date)
  assert.equal(setTimeout.name, 'setTimeout')
  assert.notEqual(Math.random, original.random, 'or nothing was guarded')
})
