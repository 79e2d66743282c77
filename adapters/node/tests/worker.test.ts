/** The worker, against the engine in memory. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { abortSignal, attemptInfo, cancelled } from '../src/_attempts'
import { all, race } from '../src/_combinators'
import { CancelledError, NonRetryableError } from '../src/_errors'
import { job } from '../src/_functions'
import { Operation } from '../src/_operations'
import { Worker } from '../src/_worker'
import { sendSignal, sleep, waitForSignal } from '../src/_workflow'
import { Moment, Rig, until } from './rig'

for (const warm of [0, 100]) {
  test(`a workflow runs to its end, with ${warm} in memory`, async (t) => {
    const rig = new Rig(t)
    const plus = rig.activity('plus', async (x: number) => x + 1)
    const twice = rig.activity('twice', (x: number) => 2 * x)
    const minus = rig.step('minus', async (x: number) => x - 1)
    const w = rig.workflow('w', async (x: number) => {
      const [first, second] = await all([plus.run(x), twice.run(x)])
      await sleep(3600)
      return await minus.run(first + second)
    })
    await rig.start({ warm })
    const row = await rig.run(w, 10)
    assert.deepEqual([row.status, row.result], ['completed', 30])
  })
}

for (const holds of [true, false]) {
  test(`a step waits for the start of a workflow that began early, which ${holds}`, async (t) => {
    const rig = new Rig(t)
    const seen: string[] = []
    const perform = rig.engine.perform.bind(rig.engine)
    rig.engine.perform = (operation, request) => {
      if (operation === Operation.ADVANCE_WORKFLOW && seen.length === 0) {
        seen.push('asked')
        const row = rig.engine.rows.get((request as any).items[0].id)
        if (!holds && row !== undefined) rig.engine.steal(row) // somebody else has it
      }
      const reply = perform(operation, request)
      if (operation === Operation.CLAIM && seen.length === 0) {
        for (const claimed of reply.executions) claimed.early = true
      }
      return reply
    }
    const minus = rig.step('minus', async (x: number) => {
      seen.push('ran')
      return x - 1
    })
    const w = rig.workflow('w', async (x: number) => await minus.run(x))
    const row = await rig.run(w, 10)
    assert.deepEqual([row.status, row.result], ['completed', 9])
    assert.deepEqual(seen, ['asked', 'ran'])
  })
}

test('a suspended workflow holds no slot', async (t) => {
  const rig = new Rig(t)
  const leaf = rig.workflow('leaf', async (x: number) => x)
  const w = rig.workflow('w', async () => {
    const numbers = await all(Array.from({ length: 20 }, (_, n) => leaf.run(n)))
    return numbers.reduce((sum, each) => sum + each, 0)
  })
  await rig.start({ concurrency: 1 })
  assert.equal((await rig.run(w)).result, 190)
})

// G5: in Node.
test('a race is decided though the body that it cancels holds the only slot', async (t) => {
  const rig = new Rig(t)
  const endless = rig.activity('endless', () => {
    return pause(3_600_000, undefined, { signal: abortSignal() })
  })
  const late = rig.workflow('late', async () => {
    const [name] = await race({ work: endless.run(), signal: waitForSignal('late') })
    return name
  })
  await rig.start({ concurrency: 1 })
  const row = rig.queue(late)
  await until(() => row.status === 'suspended' && row.children[0]?.status === 'running')
  await rig.signal(row.id, 'late')
  assert.equal((await rig.end(row)).result, 'signal')
})

for (const [retries, times] of [
  [0, 1],
  [3, 4],
] as const) {
  test(`retries=${retries} runs a body that fails ${times} times`, async (t) => {
    const rig = new Rig(t)
    const ran: number[] = []
    const fails = rig.job(
      'fails',
      () => {
        ran.push(attemptInfo().attempt)
        throw new RangeError('no')
      },
      { retries },
    )
    const row = await rig.run(fails)
    assert.equal(row.status, 'failed')
    assert.equal(row.error?.type, 'RangeError')
    assert.match(row.error?.stack, /worker\.test\.ts/)
    assert.deepEqual(
      ran,
      Array.from({ length: times }, (_, n) => n + 1),
    )
  })
}

test('types that are not retried, and what extends them, run once', async (t) => {
  class Declined extends NonRetryableError {}
  class Special extends RangeError {}
  const rig = new Rig(t)
  const ran: string[] = []
  const declined = rig.job(
    'declined',
    () => {
      ran.push('declined')
      throw new Declined()
    },
    { retries: 3 },
  )
  const special = rig.job(
    'special',
    async () => {
      ran.push('special')
      throw new Special('x')
    },
    { retries: 3, nonRetryable: [RangeError] },
  )
  await rig.run(declined)
  await rig.run(special)
  assert.deepEqual(ran, ['declined', 'special'])
})

for (const [what, thrown] of [
  ['undefined', undefined],
  ['null', null],
  ['a string', 'x'],
  ['an object without a prototype', Object.create(null)],
  ['an AbortError', new DOMException('stop', 'AbortError')],
  [
    'an error whose message throws',
    Object.defineProperty(new Error('x'), 'message', {
      get() {
        throw new Error('y')
      },
    }),
  ],
] as const) {
  test(`the worker survives a body that throws ${what}`, async (t) => {
    const rig = new Rig(t)
    const bad = rig.job(
      'bad',
      () => {
        throw thrown
      },
      { retries: 0 },
    )
    const badAsync = rig.job(
      'badAsync',
      async () => {
        throw thrown
      },
      { retries: 0 },
    )
    const flow = rig.workflow('flow', async () => {
      throw thrown
    })
    const good = rig.job('good', async () => 'alive')
    for (const fn of [bad, badAsync, flow]) assert.equal((await rig.run(fn)).status, 'failed')
    assert.equal((await rig.run(good)).result, 'alive')
  })
}

test('a result that is not JSON fails that execution alone, and names the path', async (t) => {
  const rig = new Rig(t)
  const bad = rig.job('bad', () => ({ x: [Number.NaN] }), { retries: 0 })
  const good = rig.job('good', () => 1)
  const row = await rig.run(bad)
  assert.deepEqual([row.status, row.failures], ['failed', 1])
  assert.match(row.error?.message, /result\.x\[0\]/)
  assert.equal((await rig.run(good)).result, 1)
})

test('a result whose own toJSON fails is a failure, and the worker lives', async (t) => {
  const rig = new Rig(t)
  const unwritable = () => ({
    toJSON() {
      throw new Error('lost its connection')
    },
  })
  const j = rig.job('j', unwritable, { retries: 0 })
  const s = rig.step('s', unwritable, { retries: 0 })
  const inStep = rig.workflow('inStep', async () => await s.run())
  const w = rig.workflow('w', async () => unwritable())
  for (const fn of [j, w, inStep]) {
    const row = await rig.run(fn)
    assert.equal(row.status, 'failed')
    assert.match(row.error?.message, /lost its connection/)
  }
})

test('arguments by name are refused with an error that names them', async (t) => {
  const rig = new Rig(t)
  rig.job('greet', (who: string) => who, { retries: 0 })
  await rig.start()
  const row = rig.engine.create({
    kind: 'job',
    name: 'greet',
    kwargs: { who: 'x' },
    retry: { retries: 0 },
  })
  await rig.end(row)
  assert.deepEqual([row.status, row.error?.type], ['failed', 'TypeError'])
  assert.match(row.error?.message, /'who'/)
})

test('an unknown function is put back', async (t) => {
  const rig = new Rig(t)
  const row = rig.engine.create({ kind: 'job', name: 'nowhere' })
  await rig.start()
  await until(() => row.released === 'no_function')
  assert.equal(row.failures, 0)
})

// R17: and a function that comes later runs.
test('what was put back once is left to others', async (t) => {
  const rig = new Rig(t)
  const first = rig.engine.create({ kind: 'job', name: 'late' })
  const other = rig.job('other', () => null)
  await rig.start()
  await until(() => first.released === 'no_function')
  const second = rig.engine.create({ kind: 'job', name: 'late' })
  await rig.run(other)
  assert.deepEqual([second.status, second.released], ['pending', undefined])
  rig.job('late', () => 'here')
  await rig.run(other) // the next claim
  assert.equal((await rig.end(second)).result, 'here')
})

test('an attempt that takes too long fails, and hears of it', async (t) => {
  const rig = new Rig(t)
  const log: string[] = []
  const slow = rig.job(
    'slow',
    async () => {
      try {
        await pause(60_000, undefined, { signal: abortSignal() })
      } finally {
        log.push(`stopped ${cancelled()}: ${abortSignal().reason.name}`)
      }
    },
    { timeout: 0.02, retries: 0 },
  )
  const row = await rig.run(slow)
  assert.deepEqual([row.status, row.error?.type, row.failures], ['failed', 'AttemptTimeout', 1])
  assert.equal(row.error?.message, 'the attempt did not end within 0.02 s')
  assert.deepEqual(log, ['stopped true: AttemptTimeout'])
})

test('a cancel reaches the body, and its result is dropped', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const endless = rig.job('endless', async () => {
    began.happen()
    await until(cancelled)
    return 'unwanted'
  })
  await rig.start()
  const row = rig.queue(endless)
  await began.happened
  rig.engine.stop(row)
  assert.equal((await rig.end(row)).status, 'cancelled')
  assert.equal(row.result ?? null, null)
})

test('a cancel reaches a workflow whose step runs', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const log: string[] = []
  const endless = rig.step('endless', async () => {
    began.happen()
    await until(cancelled)
    log.push('step stopped')
  })
  const undo = rig.activity('undo', async () => void log.push('undone'))
  const w = rig.workflow('w', async () => {
    try {
      await endless.run()
    } catch (error) {
      assert.ok(error instanceof CancelledError)
      await undo.run()
      throw error
    }
  })
  await rig.start()
  const row = rig.queue(w)
  await began.happened
  rig.engine.stop(row)
  assert.equal((await rig.end(row)).status, 'cancelled')
  await until(() => log.length === 2)
  assert.deepEqual(log.sort(), ['step stopped', 'undone'])
})

test('a signal reaches a workflow whose step runs', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const finish = new Moment()
  const slow = rig.step('slow', async () => {
    began.happen()
    await finish.happened
    return 1
  })
  const w = rig.workflow('w', async () => {
    const work = slow.run()
    const found = await waitForSignal('s')
    finish.happen()
    return [found, await work]
  })
  await rig.start()
  const row = rig.queue(w)
  await began.happened
  await rig.signal(row.id, 's', 'news')
  assert.deepEqual((await rig.end(row)).result, ['news', 1])
})

test('a lost lease stops the body and drops its result', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const ended: string[] = []
  const slow = rig.job('slow', async () => {
    const first = ended.length === 0 && !began.has
    began.happen()
    if (first) await until(cancelled)
    ended.push(first ? `first: ${abortSignal().reason.message}` : 'second')
    return first ? 1 : 2
  })
  await rig.start()
  const row = rig.queue(slow)
  await began.happened
  rig.engine.steal(row)
  assert.equal((await rig.end(row)).result, 2)
  await until(() => ended.length === 2)
  assert.deepEqual(ended.sort(), ['first: the lease of the execution was lost', 'second'])
  assert.match(rig.told('warn').join(), /the lease of slow .* was lost; what its body still does/)
})

test('a workflow whose lease is lost goes on from its history', async (t) => {
  const rig = new Rig(t)
  const bodies: number[] = []
  const held = new Moment()
  const finish = new Moment()
  const a = rig.activity('a', async (x: number) => {
    bodies.push(x)
    return x
  })
  const slow = rig.step('slow', async () => {
    held.happen()
    await finish.happened
  })
  const w = rig.workflow('w', async () => {
    const total = (await a.run(1)) + (await a.run(2))
    await slow.run()
    return total
  })
  await rig.start()
  const row = rig.queue(w)
  await held.happened
  finish.happen()
  rig.engine.steal(row)
  assert.equal((await rig.end(row)).result, 3)
  assert.deepEqual(bodies, [1, 2])
})

test('steps are retried where they are', async (t) => {
  const rig = new Rig(t)
  const ran: number[] = []
  const thirdTime = rig.step(
    'thirdTime',
    async () => {
      ran.push(1)
      if (ran.length < 3) throw new Error()
      return ran.length
    },
    { retries: 2, initial: 0.001 },
  )
  const w = rig.workflow('w', async () => await thirdTime.run())
  assert.equal((await rig.run(w)).result, 3)
})

test('code that does not fit is parked with its message', async (t) => {
  const rig = new Rig(t)
  const a = rig.activity('a', async () => {})
  const b = rig.activity('b', async () => {})
  let first = true
  const w = rig.workflow('w', async () => {
    await (first ? a : b).run()
    first = false
    await waitForSignal('go')
  })
  await rig.start({ warm: 0 })
  const row = rig.queue(w)
  await until(() => row.status === 'suspended' && !first)
  await rig.signal(row.id, 'go')
  await until(() => row.parked)
  assert.match(row.parked ?? '', /the activity 'a'/)
})

test('workflows signal each other', async (t) => {
  const rig = new Rig(t)
  const ping = rig.workflow('ping', async (other: string) => {
    await sendSignal(other, 'ball', 1)
    return 'sent'
  })
  const pong = rig.workflow('pong', async () => await waitForSignal('ball', { timeout: 3600 }))
  await rig.start()
  const row = rig.queue(pong)
  assert.equal((await rig.run(ping, row.id)).result, 'sent')
  assert.equal((await rig.end(row)).result, 1)
})

for (const warm of [0, 3]) {
  test(`a cache of ${warm} gives the same results`, async (t) => {
    const rig = new Rig(t)
    const a = rig.activity('a', async (x: number) => {
      await null
      return x
    })
    const w = rig.workflow('w', async (x: number) => {
      let total = 0
      for (let n = 0; n < 4; n++) {
        const [name, value] = await race({ a: a.run(n * x), b: sleep(3600) })
        total += name === 'a' ? (value as number) : 0
      }
      return total
    })
    await rig.start({ warm, concurrency: 7 })
    const rows = Array.from({ length: 30 }, (_, n) => rig.queue(w, n))
    for (const [n, row] of rows.entries()) assert.equal((await rig.end(row)).result, 6 * n)
  })
}

test('one claim asks for all free slots, and outcomes are written together', async (t) => {
  const rig = new Rig(t)
  const good = rig.job('good', async () => {})
  const rows = Array.from({ length: 50 }, () => rig.queue(good))
  await rig.start({ concurrency: 50 })
  for (const row of rows) await rig.end(row)
  const { calls } = rig.engine
  const claims = calls.filter(([name]) => name === 'claim').map(([, request]) => request.n)
  assert.equal(claims[0], 50)
  assert.ok(claims.length <= 3, `${claims.length} claims`)
  const completions = calls.filter(([name]) => name === 'complete_execution')
  assert.equal(
    completions.map(([, { items }]) => items.length).reduce((a, b) => a + b),
    50,
  )
  assert.ok(completions.length <= 3, `${completions.length} requests`)
})

test('a worker can be given the functions that it runs, and runs no others', () => {
  const mine = job({ name: 'mine' }, () => 1)
  job({ name: 'not mine' }, () => 2)
  const { functions } = new Worker({ functions: [mine] })
  assert.equal(functions.find('job', 'mine'), mine.definition)
  assert.equal(functions.find('job', 'not mine'), undefined)
})
