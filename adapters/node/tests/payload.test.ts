/** Values as JSON and back: the same, or an error that names the path. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { PayloadError } from '../src/_errors'
import {
  adapt,
  dumps,
  loadReply,
  loads,
  MAX_DEPTH,
  plain,
  plainArguments,
  Unreadable,
} from '../src/_payload'

/** A value that nests so many levels deep. */
function nested(levels: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = [value]
  return value
}

function refusal(value: unknown, root = 'result'): PayloadError {
  try {
    plain(value, root)
  } catch (error) {
    assert(error instanceof PayloadError)
    return error
  }
  return assert.fail('it was not refused')
}

class Money {
  constructor(readonly cents: number) {}
}

class Euro extends Money {
  toJSON() {
    return { euro: this.cents / 100 }
  }
}

const nothing = { toJSON: () => undefined }

const written: [string, unknown, string][] = [
  ['null', null, 'null'],
  ['undefined by itself', undefined, 'null'],
  ['text of every plane', 'aß€😀', '"aß€😀"'],
  ['NUL', 'a\0b', '"a\\u0000b"'],
  ['a lone surrogate', 'a\ud800', '"a\\ud800"'],
  ['minus zero', -0, '0'],
  ['1e21', 1e21, '1e+21'],
  ['the largest double', Number.MAX_VALUE, '1.7976931348623157e+308'],
  ['the smallest double', 5e-324, '5e-324'],
  ['2 to the 60th', 2 ** 60, '1152921504606847000'],
  ['an object of another realm', runInNewContext('({ a: [1] })'), '{"a":[1]}'],
  ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
  ['the key __proto__', JSON.parse('{"__proto__":{"a":1}}'), '{"__proto__":{"a":1}}'],
  [
    'the keys constructor and toString',
    { constructor: 1, toString: 2 },
    '{"constructor":1,"toString":2}',
  ],
  ['a Date', new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ['a Date of another realm', runInNewContext('new Date(0)'), '"1970-01-01T00:00:00.000Z"'],
  ['a URL', new URL('https://example.org/a'), '"https://example.org/a"'],
  ['what has a toJSON', [new Euro(150)], '[{"euro":1.5}]'],
  [
    'a getter',
    {
      get a() {
        return 1
      },
    },
    '{"a":1}',
  ],
  ['undefined in an array', [1, undefined], '[1,null]'],
  // biome-ignore lint/suspicious/noSparseArray: the hole is what is tested
  ['a hole in an array', [1, , 3], '[1,null,3]'],
  ['undefined in an object', { a: undefined, b: [{ c: undefined }] }, '{"b":[{}]}'],
  ['a toJSON that answers undefined', { a: nothing, b: [nothing] }, '{"b":[null]}'],
  ['an array with members of its own', Object.assign([1], { x: 2 }), '[1]'],
  ['one object twice', ((a) => [a, a])({ b: 1 }), '[{"b":1},{"b":1}]'],
]

for (const [what, value, expected] of written) {
  test(`${what} is written as ${expected.slice(0, 40)}`, () => {
    assert.equal(dumps(value), expected)
  })
}

test('undefined goes where JSON.stringify has it', () => {
  const value = { a: [undefined, [undefined]], b: { c: undefined, d: 1, e: nothing }, f: [nothing] }
  assert.equal(dumps(value), JSON.stringify(value))
  assert.equal(dumps(nothing), 'null')
})

const cycle: Record<string, unknown> = { name: 'a' }
cycle.self = [cycle]

const throwing = {
  get price(): number {
    throw new RangeError('no price')
  },
}

const refused: [string, unknown, string, RegExp][] = [
  ['NaN', { a: [Number.NaN] }, 'result.a[0]', /NaN is not JSON/],
  ['Infinity', [Number.NEGATIVE_INFINITY], 'result[0]', /-Infinity is not JSON/],
  ['a bigint', { n: 1n }, 'result.n', /a bigint is not JSON; pass it as text/],
  ['a symbol', [Symbol('s')], 'result[0]', /a symbol is not JSON/],
  ['a symbol as key', { a: { [Symbol('s')]: 1 } }, 'result.a', /the key Symbol\(s\) is a symbol/],
  ['a function', { f: () => 1 }, 'result.f', /a function is not JSON/],
  ['a Map', { 'the map': new Map() }, 'result["the map"]', /a Map is not JSON/],
  ['a Set', [new Set()], 'result[0]', /a Set is not JSON/],
  ['a Buffer', [Buffer.from('a')], 'result[0]', /a Buffer is not JSON; encode it as text/],
  ['a typed array', new Uint8Array(2), 'result', /^a Uint8Array is not JSON/],
  ['an ArrayBuffer', new ArrayBuffer(2), 'result', /an ArrayBuffer is not JSON/],
  ['a forgotten await', { a: Promise.resolve(1) }, 'result.a', /was an `await` forgotten\?/],
  ['an invalid Date', [new Date(Number.NaN)], 'result[0]', /an invalid Date is not JSON/],
  ['an instance of a class', { m: new Money(1) }, 'result.m', /an instance of Money is not JSON/],
  ['an Error', new Error('no'), 'result', /an instance of Error is not JSON/],
  ['a boxed number', [Object(1)], 'result[0]', /an instance of Number is not JSON/],
  ['a regular expression', [/a/], 'result[0]', /an instance of RegExp is not JSON/],
  ['a getter that throws', [throwing], 'result[0].price', /getter threw RangeError: no price/],
  [
    'a toJSON that throws',
    [
      {
        toJSON() {
          throw new Error('x')
        },
      },
    ],
    'result[0]',
    /toJSON\(\) threw/,
  ],
  ['a toJSON that answers NaN', [{ toJSON: () => Number.NaN }], 'result[0]', /NaN is not JSON/],
  ['a cycle', cycle, 'result.self[0]', /it contains itself/],
  ['129 levels', nested(129), `result${'[0]'.repeat(128)}`, /nests deeper than 128 levels/],
]

for (const [what, value, path, reason] of refused) {
  test(`${what} is refused by its path`, () => {
    const error = refusal(value)
    assert.equal(error.path, path)
    assert.match(error.reason, reason)
    assert.equal(error.message, `${path}: ${error.reason}`)
    assert.deepEqual(error.details, { path })
  })
}

test('what a getter threw is the cause', () => {
  assert(refusal(throwing).cause instanceof RangeError)
})

test('128 levels can be sent', () => {
  assert.equal(dumps(nested(MAX_DEPTH)), `${'['.repeat(128)}1${']'.repeat(128)}`)
})

test('what is sent is a copy that later changes do not reach', () => {
  const original = { items: [{ a: 1 }] }
  const copy = plain(original)
  original.items[0] = { a: 2 }
  assert.deepEqual(copy, { items: [{ a: 1 }] })
})

test('a name like __proto__ does not reach the prototype of the copy', () => {
  const copy = plain(JSON.parse('{"__proto__":{"admin":true}}')) as { admin?: boolean }
  assert.equal(Object.getPrototypeOf(copy), Object.prototype)
  assert.equal(copy.admin, undefined)
})

test('what is JSON comes back equal', () => {
  const values = ['', '\u2028"\\\0\udfff\ud800', [[], {}], { 'a.b': null, '': 1 }, 1.5e-300, true]
  for (const value of values) assert.deepEqual(loads(dumps(value)), value)
})

test('a hundred thousand random doubles come back bit for bit', () => {
  const bits = new DataView(new ArrayBuffer(8))
  for (let n = 0, seed = 1; n < 100_000; n++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    bits.setUint32(0, seed)
    bits.setUint32(4, Math.imul(seed ^ (seed >>> 15), 2246822519) >>> 0)
    const value = bits.getFloat64(0)
    if (Number.isFinite(value) && value !== 0) assert.equal(loads(dumps(value)), value)
  }
})

// --- arguments --------------------------------------------------------------------------

test('undefined at the end of the arguments is left out, and before others null', () => {
  assert.deepEqual(plainArguments([1, undefined, undefined]), [1])
  assert.deepEqual(plainArguments([undefined]), [])
  assert.deepEqual(plainArguments([undefined, 1]), [null, 1])
})

test('an argument that is not JSON is named', () => {
  assert.throws(() => plainArguments(['a', { price: Number.NaN }]), { path: 'args[1].price' })
})

// --- on receipt -------------------------------------------------------------------------

const unsafe: [string, string, RegExp][] = [
  ['{"n":9007199254740993}', '$.n', /9007199254740993 is an integer that a JavaScript number/],
  ['[1,-9007199254740993]', '$[1]', /-9007199254740993 is an integer/],
  ['{"a":[{"b c":1e400}]}', '$.a[0]["b c"]', /1e400 is too large for a JavaScript number/],
  ['-1E+999', '$', /too large/],
  [`[${'9'.repeat(400)}]`, '$[0]', /99999999999999999999\.\.\.9999999999 is too large/],
  ['{"a":"1,2","a\\"}":[0,[12345678901234567890]]}', '$["a\\"}"][1][0]', /12345678901234567890/],
  ['{"a":{},"b":[],"c":[[],{"d":2,"e":123456789012345678901}]}', '$.c[1].e', /is an integer/],
  ['{"a" : [ 1 , 123456789012345678901 ] }', '$.a[1]', /is an integer/],
]

for (const [text, path, reason] of unsafe) {
  test(`${text.slice(0, 40)} cannot be held, and is refused at ${path}`, () => {
    assert.throws(
      () => loads(text),
      (error) => {
        assert(error instanceof PayloadError)
        assert.equal(error.path, path)
        assert.match(error.reason, reason)
        return true
      },
    )
  })
}

const safe = [
  '9007199254740991',
  '9007199254740992',
  '-9007199254740992',
  '1152921504606846976', // 2 ** 60, as Python writes it
  '1152921504606847000', // 2 ** 60, as JavaScript does
  '100000000000000000000',
  '1e21',
  '1e308',
  '1e-400',
  '0.1234567890123456789',
  '123456789012345678.5',
  '["1e400",":9007199254740993",", 1e400"]',
  '{":9007199254740993":1}',
]

for (const text of safe) {
  test(`${text} can be held`, () => {
    assert.deepEqual(loads(text), JSON.parse(text))
  })
}

for (const text of ['', '{', '[1,]', 'NaN', '{"a":Infinity}', "'a'"]) {
  test(`${text || 'nothing'} is not JSON`, () => {
    assert.throws(() => loads(text), /^PayloadError: \$: it is not JSON/)
  })
}

test('one unreadable payload does not spoil the batch around it', () => {
  const text =
    '[{"token":1,"reply":{"ok":{"executions":[{"id":"a","args":[1,{"big":9007199254740993}],' +
    '"kwargs":{}},{"id":"b","args":[2],"kwargs":{}}]}}}]'
  const [first, second] = loadReply(text)[0].reply.ok.executions
  assert(first.args instanceof Unreadable)
  assert.throws(() => adapt(first.args), { name: 'PayloadError', path: 'args[1].big' })
  assert.throws(() => adapt(first.args, 'input'), { path: 'input[1].big' })
  assert.deepEqual(adapt(first.kwargs), {})
  assert.deepEqual(adapt(second.args), [2])
})

test('two unsafe numbers in one payload name the first', () => {
  const reply = loadReply('{"result":{"a":1e999,"b":[9007199254740993]},"state":1e999}')
  assert.throws(() => adapt(reply.result), { path: 'result.a' })
  assert.throws(() => adapt(reply.state), { path: 'state' })
})

test('a fault of the library is read even if it tells of a large number', () => {
  const fault = '{"error":{"code":"invalid_request","details":{"limit":9223372036854775807}}}'
  assert.equal(loadReply(fault).error.code, 'invalid_request')
})

test('no payload is null', () => {
  assert.equal(adapt(undefined), null)
})

test('a long text full of escapes is looked through', () => {
  const text = JSON.stringify({ a: '\\"'.repeat(200_000), n: 1 }).replace(':1}', ':1e999}')
  assert.throws(() => loads(text), { path: '$.n' })
})
