/**
 * What a call costs, and that the event loop stays free.
 *
 * The bounds are far above what is measured, and far below what would be wrong: a call that
 * enters Go waits for a processor there, 15 milliseconds with a thousand operations in flight.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { Engine } from '../src/_engine'
import { Library } from '../src/_library'
import { Operation } from '../src/_operations'
import { scratch } from './hosts'
import type { Busy } from './speed_script'

const run = promisify(execFile)
const url = `embedded:${join(scratch(), 'database')}`
let engine: Engine

before(async () => {
  engine = Engine.shared(url)
  await engine.call(Operation.MIGRATE, {})
})
after(async () => await engine.close())

/** Answers the least of several measurements, since other processes only ever add to it. */
function best(measure: () => number, times = 100): number {
  return Math.min(...Array.from({ length: times }, measure))
}

test('a call through koffi that does nothing costs less than 5 microseconds', (t) => {
  const library = Library.get()
  const many = 1000
  const cost = best(() => {
    const started = process.hrtime.bigint()
    for (let i = 0; i < many; i++) library.cancel(1, 1)
    return Number(process.hrtime.bigint() - started) / 1000 / many
  })
  t.diagnostic(`${cost.toFixed(2)} µs`)
  assert.ok(cost < 5, `${cost} µs`)
})

test('a thousand operations in flight do not hold up the event loop', async (t) => {
  // Other processes only ever add to it: the best of several tries counts.
  const script = join(__dirname, 'speed_script.ts')
  const { stdout } = await run(process.execPath, ['--import', 'tsx', script, url, '10', '10'])
  const tries = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Busy)
  const least = (what: 'loop' | 'submit' | 'drain') => Math.min(...tries.map((each) => each[what]))
  for (const { loop, submit, drain } of tries)
    t.diagnostic(
      `p99 in ms: loop ${loop.toFixed(1)}, submit ${submit.toFixed(2)}, drain ${drain.toFixed(2)}`,
    )
  // The library's part never waits for a processor of Go's, whatever the load.
  assert.ok(least('submit') < 5, `${least('submit')} ms`)
  assert.ok(least('drain') < 5, `${least('drain')} ms`)
  // The rest is the loop's own, some 2 ms; without the privilege to go first it waits for a core,
  // too, which other tests may have.
  assert.ok(least('loop') < (tries[0]?.first ? 10 : 60), `${least('loop')} ms`)
})

test('an operation costs little processor time at 100 in flight', async (t) => {
  // Refused before it reaches the database, so that what is left is the way there and back.
  const request = { no_such_field: 1 }
  const many = 1000
  let sent = 0
  const one = async () => {
    while (sent++ < many) await engine.call(Operation.STATS, request).catch(() => {})
  }
  const before = process.cpuUsage()
  const started = performance.now()
  await Promise.all(Array.from({ length: 100 }, one))
  const took = performance.now() - started
  const { user, system } = process.cpuUsage(before)
  const cost = (user + system) / many
  t.diagnostic(`${Math.round((1000 * many) / took)} operations/s, ${cost.toFixed(1)} µs each`)
  assert.ok(cost < 200, `${cost} µs`)
})
