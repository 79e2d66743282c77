/** What workflow code must not ask of the globals. */

import assert from 'node:assert/strict'
import * as nodeCrypto from 'node:crypto'
import { test } from 'node:test'
import { promisify, types } from 'node:util'
import { installGuards } from '../src/_guards'
import { activity, Story, step, workflow } from './story'

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
