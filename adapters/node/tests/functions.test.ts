/** Definitions: options, names, and calling a function plainly. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from '../src/_client'
import { InvalidDuration, PayloadError } from '../src/_errors'
import { activity, DurableFunction, type Fn, home, job, step, workflow } from '../src/_functions'
import { loadReply } from '../src/_payload'
import { Registry, registry } from '../src/_registry'
import { withClient } from './trial'

const kinds = { job, activity, step, workflow }
let made = 0

/** A name that nothing else in this process has. */
function fresh(): string {
  made++
  return `f${made}`
}

test('a function is defined by itself, with a name, or with options', async () => {
  const bare = job(function double(x: number) {
    return 2 * x
  })
  const withName = job('treble', async (x: number) => 3 * x)
  const withOptions = job({ name: 'quadruple', queue: 'mail', retries: 5 }, (x: number) => 4 * x)
  assert.deepEqual(
    [bare, withName, withOptions].map((fn) => [fn.kind, fn.functionName, fn.name]),
    ['double', 'treble', 'quadruple'].map((name) => ['job', name, name]),
  )
  assert.deepEqual([bare(2), await withName(2), withOptions(2)], [4, 6, 8])
  assert.equal(registry.find('job', 'double'), bare.definition)
  assert.equal(registry.find('activity', 'double'), undefined)
})

test('a function that is in a variable has the name of the variable', () => {
  const charge = async (card: string) => card
  assert.equal(activity(charge).functionName, 'charge')
})

test('a function without a name is refused', () => {
  for (const define of Object.values(kinds) as ((body: () => number) => Fn)[]) {
    assert.throws(() => define(() => 1), /^TypeError: the function of this \w+ has no name/)
  }
})

test('one name for two functions is refused with both places', () => {
  const make = () => job('same', () => 1)
  make()
  const place = String.raw`\S*functions\.test\.ts:\d+:\d+`
  assert.throws(make, new RegExp(`RangeError: two functions .* job 'same': ${place} and ${place};`))
})

test('the same module loaded again replaces its functions', () => {
  const path = require.resolve('./reloaded')
  const load = (): { reloaded: Fn } => {
    delete require.cache[path]
    return require('./reloaded')
  }
  const [first, second] = [load().reloaded, load().reloaded]
  assert.notEqual(first.definition, second.definition)
  assert.equal(registry.find('job', 'reloaded'), second.definition)
})

test('one name for two kinds is fine', () => {
  job('both', () => 1)
  activity('both', () => 1)
})

const mistakes: [object, new () => Error][] = [
  [{ delay: -1 }, InvalidDuration],
  [{ delay: 'soon' }, InvalidDuration],
  [{ queu: 'x' }, TypeError],
  [{ queue: '' }, RangeError],
  [{ queue: 'é'.repeat(128) }, RangeError],
  [{ queue: 5 }, TypeError],
  [{ name: 'other' }, TypeError],
  [{ priority: 11 }, RangeError],
  [{ priority: '5' }, TypeError],
  [{ retries: -1 }, RangeError],
  [{ retries: 1.5 }, TypeError],
  [{ timeout: 0 }, RangeError],
  [{ factor: 0.5 }, RangeError],
  [{ factor: Number.NaN }, RangeError],
  [{ jitter: 2 }, RangeError],
  [{ nonRetryable: RangeError }, TypeError],
  [{ nonRetryable: 'RangeError' }, TypeError],
  [{ nonRetryable: [Number] }, TypeError],
  [{ nonRetryable: [''] }, TypeError],
  [{ runAt: new Date(Number.NaN) }, RangeError],
  [{ runAt: 'tomorrow' }, TypeError],
  [{ runAt: new Date(), delay: 5 }, RangeError],
  [{ closePolicy: 'keep' }, RangeError],
  [{ idempotencyKey: '' }, RangeError],
  [{ signal: ['add', 1] }, TypeError],
]

for (const [options, type] of mistakes) {
  const [option] = Object.keys(options)
  test(`${JSON.stringify(options)} is refused at once`, () => {
    const fn = job(fresh(), () => 1)
    assert.throws(
      () => fn.options(options),
      (error) => error instanceof type && error.message.includes(option as string),
    )
  })
}

for (const [option, value] of Object.entries({
  retries: 3,
  initial: '1s',
  factor: 3,
  max: '1m',
  jitter: 0.5,
  nonRetryable: ['RangeError'],
  totalTimeout: '1h',
})) {
  test(`a workflow refuses ${option}, which is of attempts`, () => {
    const define = () => workflow({ name: fresh(), [option]: value }, () => 1)
    assert.throws(define, new RegExp(`TypeError: ${option} has no meaning for a workflow`))
  })
}

test('retries of 0 are what a workflow has', () => {
  workflow({ name: fresh(), ...{ retries: 0 } }, () => 1)
})

for (const name of ['x'.repeat(256), 'a\0b', '']) {
  test(`a name of ${name.length} bytes like ${JSON.stringify(name.slice(0, 3))} is refused`, () => {
    assert.throws(() => job(name, () => 1), /name must have 1 to 255 bytes/)
  })
}

test('what is no function is refused', () => {
  for (const define of Object.values(kinds) as ((...args: any[]) => Fn)[]) {
    assert.throws(() => define(fresh()), /takes a function/)
    assert.throws(() => define(() => 1, {}), /takes a function/)
    assert.throws(() => define(5, () => 1), /takes options or a name before the function/)
    assert.throws(() => define(fresh(), function* () {}), /cannot take the generator/)
    assert.throws(() => define(fresh(), async function* () {}), /cannot take the generator/)
    const once = define(fresh(), () => 1)
    assert.throws(() => define(fresh(), once), /is defined already/)
  }
})

test('queues mean nothing for a step', () => {
  const options = { name: fresh(), ...{ queue: 'x' } }
  assert.throws(() => step(options, () => 1), /queue has no meaning for a step/)
  const fn = step(fresh(), () => 1)
  assert.throws(() => fn.definition.execution([]), /make it an activity/)
})

test('options reach the wire, and leave the original alone', () => {
  class Declined extends Error {}
  const fn = job(
    { name: 'wired', queue: 'mail', retries: 5, timeout: '30s', nonRetryable: [Declined, 'Other'] },
    (_a: number, _b?: number) => {},
  )
  const other = fn.options({
    delay: '5m',
    priority: 9,
    idempotencyKey: 'k',
    initial: 2,
    max: '1m',
    factor: 3,
    jitter: 0,
    totalTimeout: '1h',
    scheduleTimeout: '1d',
  })
  assert.deepEqual(other.definition.execution([1, undefined], { awaited: true }), {
    kind: 'job',
    name: 'wired',
    queue: 'mail',
    args: [1],
    delay_ms: 300_000,
    priority: 9,
    idempotency_key: 'k',
    attempt_timeout_ms: 30_000,
    timeout_ms: 3_600_000,
    schedule_timeout_ms: 86_400_000,
    retry: {
      retries: 5,
      initial_ms: 2000,
      max_ms: 60_000,
      factor: 3,
      jitter: 0,
      non_retryable: ['Declined', 'Other'],
    },
    awaited: true,
  })
  assert.deepEqual(fn.definition.execution([]), {
    kind: 'job',
    name: 'wired',
    queue: 'mail',
    attempt_timeout_ms: 30_000,
    retry: { retries: 5, non_retryable: ['Declined', 'Other'] },
  })
})

test('an option that is undefined is none, and a timeout of null takes one away', () => {
  const fn = job({ name: fresh(), timeout: 5, queue: undefined }, () => 1)
  assert.equal(fn.definition.request().attempt_timeout_ms, 5000)
  assert.equal(fn.options({ timeout: undefined }).definition.request().attempt_timeout_ms, 5000)
  assert.equal('attempt_timeout_ms' in fn.options({ timeout: null }).definition.request(), false)
})

test('the timeout of a workflow bounds all of it, and a signal goes with its start', () => {
  const runAt = new Date('2026-01-02T03:04:05.678Z')
  const fn = workflow({ name: fresh(), timeout: '24h', version: '2' }, () => 1)
  const request = fn.options({ runAt, signal: ['add', { a: 1 }, 'once'] }).definition.request()
  assert.equal(request.timeout_ms, 86_400_000)
  assert.equal(request.version, '2')
  assert.equal(request.run_at, '2026-01-02T03:04:05.678Z')
  assert.equal('attempt_timeout_ms' in request, false)
  assert.deepEqual(request.signals, [{ name: 'add', payload: { a: 1 }, idempotency_key: 'once' }])
})

test('one who changes what a call was made of changes nothing for the next', () => {
  const fn = job({ name: fresh(), retries: 1 }, () => 1)
  fn.definition.request().queue = 'other'
  assert.equal('queue' in fn.definition.request(), false)
})

test('an argument that is not JSON is refused by the promise, and nothing is asked for', async () => {
  const fn = job(fresh(), (_: unknown) => 1)
  await withClient(new Client({ url: 'nowhere:' }), async () => {
    const isNamed = { name: 'PayloadError', path: 'args[0].x' }
    await assert.rejects(fn.queue({ x: 1n }), isNamed)
    await assert.rejects(fn.run({ x: 1n }), isNamed)
    const error: Error = await fn.run({ x: 1n }).catch((error) => error)
    assert.match(error.stack?.split('\n')[1] ?? '', /functions\.test\.ts/)
  })
})

test('received arguments come as they are, and keyword arguments are refused by name', () => {
  const { definition } = job('received', (_: unknown) => 1)
  assert.deepEqual(definition.adapted([1, null], {}), [1, null])
  assert.throws(
    () => definition.adapted([], { depth: 2 }),
    /^TypeError: received\(\): it was called with the keyword argument 'depth'/,
  )
  const { args, kwargs } = loadReply('{"args":[1e999],"kwargs":{"a":1e999}}')
  assert.throws(() => definition.adapted(args, {}), { name: 'PayloadError', path: 'args[0]' })
  assert.throws(() => definition.adapted([], kwargs), PayloadError)
})

test('a step outside a workflow just runs', async () => {
  const fn = step(fresh(), (x: number) => 2 * x)
  assert.equal(await fn.run(4), 8)
})

test('an external function is declared, and neither registered nor callable', () => {
  const label = activity.external<(item: string) => string>({ name: 'label', queue: 'warehouse' })
  assert.equal(registry.find('activity', 'label'), undefined)
  assert.throws(() => label('x'), /label is external: its code lives elsewhere/)
  assert.deepEqual(label.definition.execution(['x']), {
    kind: 'activity',
    name: 'label',
    queue: 'warehouse',
    args: ['x'],
  })
  assert.equal(label.options({ priority: 1 }).definition.isExternal, true)
  assert.equal(workflow.external<() => number>('elsewhere').kind, 'workflow')
  assert.equal('external' in step, false)
  activity('label', () => 'here')
})

test('what a body queues goes through the client of its worker', async () => {
  const client = new Client()
  assert.equal(withClient(client, home), client)
  await withClient(client, async () => {
    await null
    assert.equal(home(), client)
  })
  assert.notEqual(home(), client)
})

test('a function can be copied with another body', () => {
  const fn = job({ name: fresh(), queue: 'q' }, () => 1)
  const other = fn.definition.with({ plain: () => 2 })
  assert(other instanceof DurableFunction)
  assert.equal(other.plain(), 2)
  assert.deepEqual(other.request(), fn.definition.request())
  assert.equal(other.functionName, fn.functionName)
})

test('names are told by kind, without the steps', () => {
  const names = registry.names()
  assert(names.job?.includes('wired'))
  assert.deepEqual(names.job, [...(names.job ?? [])].sort())
  assert.equal(names.step, undefined)
})

test('a registry can be made of some functions alone', () => {
  const [one, two] = [job(fresh(), () => 1), step(fresh(), () => 2)]
  const some = Registry.of([one, two])
  assert.equal(some.size, 2)
  assert.equal(some.find('step', two.functionName), two.definition)
  assert.deepEqual(some.names(), { job: [one.functionName] })
})
