import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidConfig, InvalidDuration } from '../src/_errors'
import { type Duration, milliseconds, Settings, seconds } from '../src/_settings'

const GOOD: readonly [Duration, number][] = [
  [2.5, 2.5],
  ['30s', 30],
  ['5m', 300],
  ['1h30m', 5400],
  ['250ms', 0.25],
  ['1.5h', 5400],
  ['1d', 86_400],
  ['2w', 1_209_600],
  [' 7 ', 7],
  ['0', 0],
]

for (const [value, expected] of GOOD) {
  test(`the duration ${JSON.stringify(value)} is ${expected} seconds`, () => {
    assert.ok(Math.abs(seconds(value) - expected) < 1e-9)
  })
}

const BAD: readonly [unknown, RegExp][] = [
  ['soon', /a duration must be seconds as a number, or text such as .* not 'soon'/],
  ['', /not ''/],
  ['5 m', /not '5 m'/],
  ['1e3', /not '1e3'/],
  [true, /not true/],
  [undefined, /not undefined/],
  [10n, /not 10n/],
  [-1, /must not be negative, as -1 is/],
  ['-1', /must not be negative, as '-1' is/],
  [Number.NaN, /at most 100 years, not NaN/],
  [Number.POSITIVE_INFINITY, /at most 100 years/],
  ['101000w', /at most 100 years/],
]

for (const [value, message] of BAD) {
  test(`the duration ${String(JSON.stringify(String(value)))} is refused`, () => {
    assert.throws(() => seconds(value as Duration), { name: 'InvalidDuration', message })
  })
}

test('an error about a duration names what it is for', () => {
  assert.throws(() => seconds('soon', { name: 'timeout' }), /^InvalidDuration: timeout must be/)
  assert.ok(new InvalidDuration('x') instanceof InvalidConfig)
})

test('less than nothing is accepted where it is asked for', () => {
  assert.equal(seconds(-2, { negative: true }), -2)
  assert.equal(milliseconds('-2', { negative: true }), -2000)
})

test('milliseconds are rounded up, and what is above 0 stays above 0', () => {
  assert.equal(milliseconds('5m'), 300_000)
  assert.equal(milliseconds(0.0001), 1)
  assert.equal(milliseconds(1e-12), 1)
  assert.equal(milliseconds(0), 0)
  assert.equal(milliseconds(0.0011), 2)
  assert.equal(milliseconds(0.1 + 0.2), 300) // 0.30000000000000004 s are 300 ms
})

test('settings are read from the environment, and nothing counts as not set', () => {
  const found = Settings.fromEnvironment({
    WORKFLOWS_DATABASE_URL: ' postgres:///app ',
    WORKFLOWS_SCHEMA: '',
    WORKFLOWS_DEFAULT_TIMEOUT: '5m',
    WORKFLOWS_WORKER_MAX_CONCURRENT: '7',
    WORKFLOWS_WORKER_WARM: '0',
  })
  assert.equal(found.databaseUrl, 'postgres:///app')
  assert.equal(found.schema, undefined)
  assert.equal(found.defaultTimeout, 300)
  assert.equal(found.workerMaxConcurrent, 7)
  assert.equal(found.workerWarm, 0)
  assert.equal(found.defaultRetries, undefined)
})

test('a setting that makes no sense is named', () => {
  const wrong: readonly [string, string][] = [
    ['WORKFLOWS_WORKER_MAX_CONCURRENT', '0'],
    ['WORKFLOWS_DEFAULT_RETRIES', '-1'],
    ['WORKFLOWS_DEFAULT_RETRIES', 'three'],
    ['WORKFLOWS_DEFAULT_TIMEOUT', 'soon'],
    ['WORKFLOWS_WORKER_POLL_INTERVAL', '-1'],
  ]
  for (const [name, value] of wrong) {
    assert.throws(
      () => Settings.fromEnvironment({ [name]: value }),
      (error) => error instanceof InvalidConfig && error.message.startsWith(`${name} must`),
    )
  }
})
