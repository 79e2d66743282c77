/** Chance is the same in every language: the figures are Python's. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { childId } from '../src/_calls'
import { blake2b, Chance } from '../src/_chance'
import { History } from '../src/_history'

const LATE = '2027-01-15T07:59:59.999999Z'
const ID = '0199ffff-abcd-7123-9abc-0123456789ab'

const RANDOM = [0.4283149885221318, 0.08090471924447762, 0.7533022698496312, 0.9752569329773959]
const UUIDS = [
  'c16f51ec-8dba-4196-b9a4-5bf009d6b8c3',
  '6d56baef-26b5-49d9-879f-86b2fb0e02aa',
  'a75d7852-b863-4ab0-9a50-435b08c5c3e6',
  'c9382f19-13a2-403a-bae8-becb9a25f362',
]
const CHILDREN = [
  '019b76da-a801-7e23-9fda-e2e8232ba2d1',
  '019b76da-a87b-7e23-9fda-e2e8232ba2d1',
  '01a3185c-4fff-7e23-9fda-e2e8232ba2d1',
  '019b76da-a801-7e94-90a7-5269a973e6cd',
  '019b76da-a87b-7e94-90a7-5269a973e6cd',
  '01a3185c-4fff-7e94-90a7-5269a973e6cd',
  '019b76da-a801-737e-a790-a65c6fd6f498',
  '019b76da-a87b-737e-a790-a65c6fd6f498',
  '01a3185c-4fff-737e-a790-a65c6fd6f498',
]

// random.Random(f"{ID}:1:random"), each 233rd number of 700
test('random answers what Python answers for the same workflow', () => {
  const chance = new Chance(`${ID}:1:random`)
  const found = Array.from({ length: 700 }, () => chance.random())
  assert.deepEqual([found[0], found[233], found[466], found[699]], RANDOM)
})

// uuid.UUID(int=random.Random(f"{ID}:1:uuid4").getrandbits(128), version=4), each 66th
test('uuid4 answers what Python answers for the same workflow', () => {
  const chance = new Chance(`${ID}:1:uuid4`)
  const found = Array.from({ length: 200 }, () => chance.uuid4())
  assert.deepEqual([found[0], found[66], found[132], found[198]], UUIDS)
})

test('the ids of children are those of Python, of the same time to the microsecond', () => {
  const claimed = { id: ID, run: 12, name: 'w' } as any
  const found: string[] = []
  for (const sequence of [1, 2, 4711]) {
    for (const at of ['2026-01-01T00:00:00.001Z', '2026-01-01T00:00:00.123457+00:00', LATE]) {
      const history = new History(claimed)
      history.happened({ position: 1, type: 'started', at })
      found.push(childId(claimed, sequence, history.timeMs()))
    }
  }
  assert.deepEqual(found, CHILDREN)
})

test('a retry keeps the chance of the run in which its history began', () => {
  const first = new History({ id: ID, run: 1, name: 'w' } as any)
  const second = new History({ id: ID, run: 2, name: 'w' } as any)
  second.index({ position: 9, type: 'retried', at: LATE })
  assert.equal(first.uuid4(), second.uuid4())
})

test('blake2b is that of RFC 7693, and says what it cannot do', () => {
  assert.equal(
    Buffer.from(blake2b(Buffer.from('abc'), 64))
      .toString('hex')
      .slice(0, 32),
    'ba80a53f981c4d0d6a2797b69f12f6e9',
  )
  assert.throws(() => blake2b(Buffer.alloc(129), 10), RangeError)
})
