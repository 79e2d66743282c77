/** Errors on the wire, both ways. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { NonRetryableError, PayloadError, WorkflowsError } from '../src/_errors'
import { FAULT_CODES, type FaultCode } from '../src/_operations'
import { ActivityError } from '../src/_outcomes'
import { loadReply, Unreadable } from '../src/_payload'
import {
  errorToException,
  exceptionToError,
  FAULTS,
  faultToException,
  MAX_CAUSES,
  MAX_ERROR_BYTES,
  RemoteError,
  type WireError,
} from '../src/_wire_errors'

// --- faults -----------------------------------------------------------------------------

for (const code of Object.keys(FAULT_CODES) as FaultCode[]) {
  test(`the fault ${code} has a class of its name`, () => {
    const name = code.replace(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())
    assert.equal(FAULTS.get(code)?.name, name)
    const error = faultToException({ code, message: 'm', retryable: true, details: { a: 1 } })
    assert.equal(error.name, name)
    assert.deepEqual([error.code, error.message, error.retryable], [code, 'm', true])
    assert.deepEqual(error.details, { a: 1 })
    const [made] = [new (FAULTS.get(code) as new () => WorkflowsError)()]
    assert.equal(made?.retryable, FAULT_CODES[code].retryable)
  })
}

test('a code that is newer than the package is still an error with that code', () => {
  const error = faultToException({ code: 'brand_new', message: 'm' })
  assert.equal(error.constructor, WorkflowsError)
  assert.equal(error.code, 'brand_new')
})

test('a fault says itself whether it can be retried', () => {
  assert.equal(faultToException({ code: 'busy', message: '', retryable: false }).retryable, false)
})

for (const malformed of [undefined, null, 7, [], { code: 7, details: [1] }]) {
  test(`a malformed fault ${inspect(malformed)} still makes an error`, () => {
    assert.equal(faultToException(malformed).code, 'internal')
  })
}

// --- to the wire ------------------------------------------------------------------------

function caught(body: () => void): unknown {
  try {
    body()
  } catch (error) {
    return error
  }
  return assert.fail('nothing was thrown')
}

function chainOf(error: WireError): string[] {
  return [error.type, ...(error.cause === undefined ? [] : chainOf(error.cause))]
}

class CardDeclined extends Error {}

test('an error crosses with its class, message, stack, causes and details', () => {
  const error = caught(function pays() {
    const cause = new TypeError('no card')
    throw Object.assign(new CardDeclined('no funds', { cause }), { details: { left: 3 } })
  })
  const wire = exceptionToError(error)
  assert.equal(wire.type, 'CardDeclined')
  assert.equal(wire.message, 'no funds')
  assert.match(wire.stack ?? '', /^ {4}at .*pays.*wire_errors\.test\.ts:\d+:\d+/)
  assert.deepEqual(wire.details, { left: 3 })
  assert.equal(wire.language, 'node')
  assert.equal(wire.non_retryable, undefined)
  assert.deepEqual(chainOf(wire), ['CardDeclined', 'TypeError'])
})

test('a stack ends where the code of the user does', () => {
  const error = new Error('a\n    at fake (file.ts:1:1)')
  error.stack =
    `Error: ${error.message}\n    at theirs (/app/shop.ts:1:2)` +
    `\n    at ours (${__dirname.replace(/tests$/, 'src')}/_attempts.ts:1:2)` +
    '\n    at process.processTicksAndRejections (node:internal/process/task_queues:1:2)'
  assert.equal(exceptionToError(error).stack, '    at theirs (/app/shop.ts:1:2)')
})

test('the message does not hide in the stack, and what is no stack is left out', () => {
  const error = new Error('no')
  delete error.stack
  assert.equal('stack' in exceptionToError(error), false)
  Object.assign(error, { stack: 7 })
  assert.equal('stack' in exceptionToError(error), false)
})

class Named extends Error {
  override name = 'OutOfStock'
}

const types: [string, unknown, string][] = [
  ['a class that sets no name goes by that of its class', new CardDeclined(''), 'CardDeclined'],
  ['a name that was set wins', new Named(''), 'OutOfStock'],
  ['an abort has its own name', AbortSignal.abort().reason, 'AbortError'],
  ['a builtin', new RangeError(''), 'RangeError'],
  ['a nameless class', new (class extends Error {})(''), 'Error'],
  ['what only looks like an error', { message: 'm', name: 'Odd' }, 'Odd'],
  ['a text', 'no', 'Error'],
  ['undefined', undefined, 'Error'],
]

for (const [what, error, type] of types) {
  test(`the type: ${what}`, () => {
    assert.equal(exceptionToError(error).type, type)
  })
}

const messages: [unknown, string][] = [
  ['text', 'text'],
  [undefined, 'undefined was thrown, which is no Error'],
  [null, 'null was thrown, which is no Error'],
  [7n, '7 was thrown, which is no Error'],
  [{ code: 1 }, '{"code":1} was thrown, which is no Error'],
  [{ message: 'm' }, 'm'],
  [Symbol('s'), 'Symbol(s) was thrown, which is no Error'],
]

for (const [thrown, message] of messages) {
  test(`throwing ${inspect(thrown)} still crosses`, () => {
    const wire = exceptionToError(thrown)
    assert.deepEqual([wire.type, wire.message], ['Error', message])
  })
}

test('what is no Error can be a cause', () => {
  const wire = exceptionToError(new Error('a', { cause: 'the bank' }))
  assert.equal(wire.cause?.message, 'the bank')
})

test('the first of an AggregateError is its cause', () => {
  const wire = exceptionToError(new AggregateError([new CardDeclined('1'), new Error('2')], 'all'))
  assert.deepEqual(chainOf(wire), ['AggregateError', 'CardDeclined'])
  const empty = exceptionToError(new AggregateError([], 'none'))
  assert.equal('cause' in empty, false)
})

test('causes end at the eighth, and circles end', () => {
  let error = new Error('0')
  for (let depth = 1; depth < 20; depth++) error = new Error(String(depth), { cause: error })
  assert.equal(chainOf(exceptionToError(error)).length, 1 + MAX_CAUSES)
  const circle = new Error('a')
  circle.cause = new Error('b', { cause: circle })
  assert.equal(chainOf(exceptionToError(circle)).length, 2)
})

for (const text of ['x', 'ß', '\0', '\ud800', '😀', '"\\']) {
  test(`an error of ${JSON.stringify(text)} is never more than 64 KiB`, () => {
    const long = text.repeat(200_000)
    let error: Error | undefined
    for (let depth = 0; depth < 12; depth++) {
      error = new Error(long, error === undefined ? {} : { cause: error })
      error.stack = `Error: ${long}\n    at a (${long}:1:1)`
      Object.assign(error, { details: { long: text.repeat(2000) } })
    }
    const wire = exceptionToError(error)
    assert(Buffer.byteLength(JSON.stringify(wire)) <= MAX_ERROR_BYTES)
    assert.match(wire.message, /characters left out/)
    assert(wire.message.startsWith(text) && wire.message.endsWith(text))
  })
}

test('an error whose members throw still crosses', () => {
  const hostile = new Proxy(new Error('no'), {
    get: () => {
      throw new Error('not yours')
    },
  })
  const wire = exceptionToError(hostile)
  assert.equal(wire.type, 'Error')
  assert.match(wire.message, /its message could not be made/)
})

test('details that are not JSON are left out and said to be', () => {
  const left = (details: unknown) =>
    exceptionToError(Object.assign(new Error(), { details })).details
  assert.deepEqual(left({ a: 1n }), { left_out: 'not JSON' })
  assert.deepEqual(left({ a: 'x'.repeat(9000) }), { left_out: 'too large' })
  assert.equal(left({}), undefined)
  assert.equal(left('text'), undefined)
  assert.equal(left([1]), undefined)
})

test('surrogates and NUL in a message arrive as sent', () => {
  const wire = JSON.parse(JSON.stringify(exceptionToError(new Error('\ud800\0'))))
  assert.equal(errorToException(wire).message, '\ud800\0')
})

test('what says so is not retryable', () => {
  class Never extends Error {
    static readonly nonRetryable = true
  }
  class Declined extends NonRetryableError {}
  for (const error of [new Never(), new Declined(), new PayloadError('a', 'b')]) {
    assert.equal(exceptionToError(error).non_retryable, true)
  }
  const odd = Object.assign(new Error(), { nonRetryable: 'yes' })
  assert.equal(exceptionToError(odd).non_retryable, undefined)
})

// --- there and back ---------------------------------------------------------------------

const ofPython = {
  type: 'CardDeclined',
  message: 'no funds',
  stack: '  File "shop.py", line 3, in charge\n    raise CardDeclined\n',
  non_retryable: true,
  details: { left: 3 },
  language: 'python',
  cause: { type: 'KeyError', message: "'x'", language: 'python' },
}

test('an error of Python is read back with all that it said', () => {
  const error = errorToException(ofPython)
  assert(error instanceof RemoteError)
  assert.deepEqual(
    [error.type, error.message, error.remoteStack, error.language],
    ['CardDeclined', 'no funds', ofPython.stack, 'python'],
  )
  assert.deepEqual(error.details, { left: 3 })
  assert.equal(error.cause?.type, 'KeyError')
  assert.equal(String(error), 'CardDeclined: no funds')
  assert.equal(inspect(error.cause).split('\n')[0], "[KeyError: 'x'] {")
  assert.match(inspect(error), /CardDeclined: no funds\n {2}File "shop\.py", line 3/)
})

test('a remote error stays the same through any number of hops', () => {
  let wire: unknown = ofPython
  for (let hop = 0; hop < 3; hop++) wire = exceptionToError(errorToException(wire))
  assert.deepEqual(wire, ofPython)
})

test('an uncaught activity error has the remote error as its cause', () => {
  const wire = exceptionToError(ActivityError.of(ofPython, 4))
  assert.equal(wire.type, 'ActivityError')
  assert.equal(wire.message, 'CardDeclined: no funds')
  assert.equal(wire.language, 'node')
  assert.deepEqual(wire.cause, ofPython)
})

for (const wire of [null, 7, 'x', [], {}, { type: 7, message: null, cause: 3, details: 'd' }]) {
  test(`the malformed error ${inspect(wire)} still makes an error`, () => {
    const error = errorToException(wire)
    assert.deepEqual([error.type, error.message, error.cause], ['Error', '', undefined])
  })
}

test('an error that JavaScript cannot read still makes an error', () => {
  const { error } = loadReply('{"error":{"type":"A","message":"m","details":{"n":1e999}}}')
  assert(error instanceof Unreadable)
  assert.match(errorToException(error).message, /could not be read: error\.details\.n: 1e999/)
})
