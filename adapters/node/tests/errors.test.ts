/** The tree of errors: names, codes, and what is an instance of what. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import * as errors from '../src/_errors'
import * as outcomes from '../src/_outcomes'
import { RemoteError } from '../src/_wire_errors'

type ErrorType = abstract new (...args: never[]) => Error
const everything: object = { ...errors, ...outcomes, RemoteError }
const classes = Object.entries(everything).filter(([name, value]) => {
  const prototype: unknown = Object(value).prototype
  return prototype instanceof Error && name !== 'Outcome'
}) as [string, ErrorType][]
const sources = join(__dirname, '..', 'src')

/** The tree as it is drawn: each name with the one that it hangs on. */
function drawn(): Map<string, string> {
  const text = readFileSync(join(sources, '_errors.ts'), 'utf8')
  const parents = new Map<string, string>()
  const path: string[] = []
  for (const [, bars = '', name = ''] of text.matchAll(/^ \* ([│├└─ ]*)([A-Z]\w+)/gm)) {
    const depth = bars.length / 4
    if (!Number.isInteger(depth)) continue
    path.length = depth
    if (depth > 0) parents.set(name, path[depth - 1] as string)
    path.push(name)
    if (name === 'Evicted') break
  }
  return parents
}

test('every class is public and in the tree at the top, under its parent', () => {
  const tree = drawn()
  assert.deepEqual([...tree.keys()].sort(), classes.map(([name]) => name).sort())
  const index = readFileSync(join(sources, 'index.ts'), 'utf8')
  for (const [name, cls] of classes) {
    assert.match(index, new RegExp(`^ {2}${name},$|\\{ ${name} \\}`, 'm'), name)
    let parent: ErrorType = Object.getPrototypeOf(cls)
    while (/^(Outcome|Attempted)$/.test(parent.name)) parent = Object.getPrototypeOf(parent)
    assert.equal(tree.get(name), parent.name, name)
  }
})

test('timeouts are all TimeoutErrors, and nothing else is', () => {
  const found = classes
    .filter(([, cls]) => Object.create(cls.prototype) instanceof errors.TimeoutError)
    .map(([name]) => name)
  const expected = ['ActivityTimeout', 'ChildTimeout', 'ResultTimeout', 'SignalTimeout', 'Timeout']
  assert.deepEqual(found.sort(), [...expected, 'TimeoutError'].sort())
  for (const value of [undefined, null, 'late']) {
    assert.equal(errors.TimeoutError[Symbol.hasInstance](value), false)
  }
})

test('a class derived from TimeoutError has instances of its own', () => {
  class Late extends errors.TimeoutError {}
  assert(new Late() instanceof Late)
  assert(new Late() instanceof errors.TimeoutError)
  assert(!(new errors.Timeout() instanceof Late))
})

test('an error has its own name, code and details', () => {
  const error = new errors.DatabaseUnavailable('PostgreSQL does not answer', { details: { a: 1 } })
  assert.equal(String(error), 'DatabaseUnavailable: PostgreSQL does not answer')
  assert.match(inspect(error), /^DatabaseUnavailable: PostgreSQL does not answer\n/)
  assert.equal(error.code, 'database_unavailable')
  assert.equal(error.retryable, true)
  assert.deepEqual(error.details, { a: 1 })
  assert(!('cause' in error))
})

test('a class that users derive is named by its own name', () => {
  class CardDeclined extends errors.NonRetryableError {}
  const error = new CardDeclined('no funds', { cause: 'bank' })
  assert.equal(error.name, 'CardDeclined')
  assert.match(error.stack ?? '', /^CardDeclined: no funds\n/)
  assert.equal(new errors.NonRetryableError('').name, 'NonRetryableError')
  assert.equal(error.nonRetryable, true)
  assert.equal(error.cause, 'bank')
})

test('a failed activity tells its type, message, attempts and remote stack', () => {
  const wire = {
    type: 'CardDeclined',
    message: 'no funds',
    stack: '  File "shop.py", line 3',
    language: 'python',
    details: { card: 7 },
    cause: { type: 'KeyError', message: "'x'" },
  }
  const error = outcomes.ActivityError.of(wire, 4)
  assert.deepEqual(
    [error.type, error.message, error.attempts, error.remoteStack],
    ['CardDeclined', 'no funds', 4, '  File "shop.py", line 3'],
  )
  assert.equal(String(error), 'ActivityError: CardDeclined: no funds')
  assert.deepEqual(error.details, { card: 7 })
  assert.equal(error.cause?.language, 'python')
  assert.equal(error.cause?.cause?.type, 'KeyError')
  assert.match(inspect(error), /File "shop\.py", line 3/)
})

test('subclasses are made by the factory that they inherit', () => {
  assert(
    outcomes.ActivityTimeout.of({ type: 'A', message: '' }) instanceof outcomes.ActivityTimeout,
  )
  const child = outcomes.ChildCancelled.of({ type: 'A', message: 'a' }, 'id-1')
  assert(child instanceof outcomes.ChildError)
  assert.equal(child.id, 'id-1')
  assert.equal(outcomes.ExecutionFailed.of(undefined, 'x').type, 'Error')
})
