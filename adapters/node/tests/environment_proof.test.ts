/** The proof that workflow code is deterministic, and histories that are replayed. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  all,
  continueAsNew,
  getVersion,
  isReplaying,
  NonDeterminismError,
  now,
  random,
  setState,
  sleep,
  timeout,
  uuid4,
  waitForSignal,
} from '../src'
import { lengths } from '../src/testing/_proof'
import {
  expectDeterministic,
  replayHistory,
  WorkflowEnvironment,
  withEnvironment,
} from '../src/testing/index'
import { type Given, inEnvironment, Own } from './environments'

const STARTED = [
  { position: 1, type: 'started', at: '2026-01-01T00:00:00Z', payload: { language: 'node' } },
]

/** An activity that answers its argument. */
function echo({ activity }: Pick<Own, 'activity'>) {
  return activity('a', async (x: unknown = null): Promise<any> => x)
}

test(
  'every prefix of a complicated workflow is proven',
  inEnvironment(async (given) => {
    const { env, step, workflow } = given
    const a = echo(given)
    const s = step('s', async (x: number) => x)
    const child = workflow('child', async (x: number) => await a.run(x))
    const w = workflow('w', async () => {
      const found: any[] = [uuid4(), random(), now().toISOString()]
      const pause = sleep(60).then(() => null)
      found.push(...(await all([a.run({ list: [1] }), s.run(2), child.run(3), pause])))
      found[3].list.push(2) // what it got is its own
      setState(found)
      found.push(await timeout('1h', () => waitForSignal('word')))
      found.push(getVersion('change', 1, 2), isReplaying() && false)
      return found.slice(3)
    })
    const handle = env.start(w)
    handle.signal('word', ['x'], { after: '30m' })
    const expected = [{ list: [1, 2] }, 2, 3, null, ['x'], 2, false]
    assert.deepEqual(await handle.result(), expected)
  }),
)

let counter = 0

/** What careless code does: something else each time. */
const CARELESS: Record<string, (given: Given) => Promise<unknown>> = {
  'other arguments': (given) => echo(given).run(counter++),
  'another name': async (given) => (counter++ % 2 ? sleep(1) : echo(given).run()),
  'another delay': () => sleep(++counter),
  'another state': async () => setState(counter++),
  'another step': ({ step }) => step(counter++ % 2 ? 'one' : 'two', async () => {}).run(),
}

for (const [what, act] of Object.entries(CARELESS)) {
  test(`code that asks for something else is found out: ${what}`, async () => {
    const own = new Own()
    await withEnvironment({ functions: own.functions }, async (env) => {
      const given = Object.assign(own, { env })
      const fixed = prepared(given)
      const careless = own.workflow('careless', async () => {
        await act(fixed)
      })
      const error = await caught(env.run(careless))
      assert.match(error.message, /careless/)
      const [handle] = env.executions(careless)
      assert.equal(await caught(handle?.result()), error, 'it is thrown whenever it is asked for')
    })
  })
}

/** The same functions whenever they are asked for. */
function prepared(given: Given): Given {
  const known = new Map<string, any>()
  const once =
    (define: any) =>
    (name: string, ...rest: unknown[]) => {
      if (!known.has(name)) known.set(name, define(name, ...rest))
      return known.get(name)
    }
  const fixed: any = { ...given, activity: once(given.activity), step: once(given.step) }
  echo(fixed)
  return fixed
}

test(
  'the error says what was and what is',
  inEnvironment(
    async (given) => {
      const a = echo(given)
      let n = 0
      const careless = given.workflow('careless', async () => await a.run(n++))
      const error = await caught(given.env.run(careless))
      assert.match(error.message, /workflow 'careless' is not deterministic/)
      assert.equal(error.recorded, "the activity 'a' args=[0]")
      assert.equal(error.attempted, "the activity 'a' args=[1]")
      assert.equal(error.position, 1)
    },
    { cold: false },
  ),
)

for (const end of ['result', 'failure', 'continue', 'wait']) {
  test(
    `code that ends otherwise is found out: ${end}`,
    inEnvironment(async (given) => {
      const a = echo(given)
      let numbers = 0
      const careless = given.workflow('careless', async (n: number) => {
        await a.run()
        const number = numbers++
        if (end === 'result') return number
        if (end === 'failure') throw new (number > 0 ? RangeError : TypeError)('no')
        if (end === 'continue' && n < 3) await continueAsNew(n + 1 + number)
        if (end === 'wait' && number > 0) await waitForSignal('never')
        return null
      })
      const error = await caught(given.env.run(careless, 0))
      assert.notEqual(error.recorded, error.attempted)
    }),
  )
}

test(
  'the proof can be left out',
  inEnvironment(
    async (given) => {
      const a = echo(given)
      const careless = given.workflow('careless', async () => await a.run(counter++))
      assert.equal(typeof (await given.env.run(careless)), 'number')
    },
    { prove: 'never' },
  ),
)

test('what nobody asked for is proven at the end', async () => {
  const own = new Own()
  const a = echo(own)
  const careless = own.workflow('careless', async () => {
    await a.run(counter++)
    await waitForSignal('never')
  })
  const env = await WorkflowEnvironment.open({ functions: own.functions })
  env.start(careless)
  await env.skip()
  await assert.rejects(env.prove(), NonDeterminismError)
  await env.close()
  const again = await WorkflowEnvironment.open({ functions: own.functions })
  again.start(careless)
  await again.skip()
  await assert.rejects(again.close(), NonDeterminismError)
})

test('the proof does not hide another error', async () => {
  const own = new Own()
  const a = echo(own)
  const careless = own.workflow('careless', async () => {
    await a.run(counter++)
    await waitForSignal('never')
  })
  const failing = withEnvironment({ functions: own.functions }, async (env) => {
    env.start(careless)
    await env.skip()
    throw new RangeError("the test's own")
  })
  await assert.rejects(failing, RangeError)
})

test('which prefixes are replayed', () => {
  assert.deepEqual(
    lengths(200, 'sample'),
    Array.from({ length: 200 }, (_, n) => n + 1),
  )
  for (const total of [201, 2001, 50_000]) {
    const chosen = lengths(total, 'sample')
    const sum = chosen.reduce((all, each) => all + each, 0)
    assert.ok(sum <= 20_000 + total * 2 && chosen.length >= 2)
    assert.equal(chosen.at(-1), total)
    assert.deepEqual(lengths(total, 'every').slice(0, 3), [1, 2, 3])
  }
  assert.deepEqual([lengths(0, 'every'), lengths(10, 'never')], [[], []])
})

// --- cold resumes, and code that changes ----------------------------------------------------

for (const cold of [false, true]) {
  test(
    `cold resumes come to the same, cold=${cold}`,
    inEnvironment(
      async (given) => {
        const a = echo(given)
        let lives = 0
        const w = given.workflow('w', async () => {
          lives += 1
          const found: unknown[] = []
          for (let n = 0; n < 3; n++) found.push(await a.run(n))
          return [...found, await waitForSignal('s'), random(), uuid4()]
        })
        const handle = given.env.start(w)
        handle.signal('s', 1, { after: '1h' })
        const found = await handle.result()
        assert.deepEqual(found.slice(0, 4), [0, 1, 2, 1])
        assert.equal(lives, cold ? 5 : 1)
      },
      { cold, prove: 'never' },
    ),
  )
}

test(
  'new code that does not fit is told as in production',
  inEnvironment(
    async (given) => {
      const { env } = given
      const a = echo(given)
      const b = given.activity('b', async (): Promise<any> => {})
      let isOld = true
      const w = given.workflow('w', async () => {
        await (isOld ? a : b).run()
        return await waitForSignal('go')
      })
      const handle = env.start(w)
      await env.skip()
      isOld = false
      handle.signal('go', 1)
      const error = await caught(handle.result())
      assert.match(error.message, /history recorded: the activity 'a' \(sequence 1\)/)
      assert.match(error.message, /getVersion/)
      assert.deepEqual([error.position, error.attempted], [2, "the activity 'b'"])
      assert.equal(handle.status(), 'suspended')
      await env.skip('1h')
      await caught(handle.result())
      isOld = true
      assert.equal(handle.resume().changed, true)
      assert.equal(await handle.result(), 1)
    },
    { cold: true, prove: 'never' },
  ),
)

test(
  'a workflow that waits for one that is parked is told',
  inEnvironment(
    async (given) => {
      const { env, workflow } = given
      const a = echo(given)
      let isOld = true
      const child = workflow('child', async () => {
        await (isOld ? a.run() : sleep(1))
        await waitForSignal('go')
      })
      const parent = workflow('parent', async () => await child.run())
      const handle = env.start(parent)
      await env.skip()
      isOld = false
      handle.child(child).signal('go')
      assert.match((await caught(handle.result())).message, /the timer 'sleep'/)
    },
    { cold: true, prove: 'never' },
  ),
)

// --- histories that were stored -------------------------------------------------------------

test(
  'a stored history over the code of today',
  inEnvironment(async (given) => {
    const { env, workflow } = given
    const a = echo(given)
    const w = workflow('w', async (x: number) => {
      const number = random()
      await a.run(x)
      await sleep('1h')
      return [number, await waitForSignal('go')]
    })
    const handle = env.start(w, 1)
    await env.skip('2h')
    const waiting = handle.history()
    handle.signal('go', 7)
    const result = await handle.result()
    const options: { args: [number]; id: string } = { args: [1], id: handle.id }

    const following = await replayHistory(waiting, w, options)
    assert.deepEqual([following.then, following.signals], ['suspend', ['go']])
    assert.deepEqual(following.commands, [])
    const ended = await replayHistory({ run: 1, events: handle.history() }, w, options)
    assert.deepEqual([ended.then, ended.result], ['complete', result])
    const printed = { execution: handle.execution(), run: 1, events: waiting }
    const text = JSON.stringify(printed)
    assert.deepEqual((await replayHistory(text, w)).signals, ['go'], 'it says all that is needed')
    const whole = { ...printed, events: handle.history() }
    assert.deepEqual((await replayHistory(whole, w)).result, result)
    const [command] = (await replayHistory(waiting.slice(0, 3), w, options)).commands
    assert.deepEqual([command?.type, command?.delay_ms], ['start_timer', 3_600_000])

    const changed = workflow('changed', async (_x: number) => await sleep('1h'))
    const error = await caught(expectDeterministic(changed, waiting, options))
    assert.match(error.message, /history recorded: the activity 'a' \(sequence 1\)/)
    await expectDeterministic(w, printed)
    await assert.rejects(replayHistory({}, w), /events/)
  }),
)

test(
  'a history that was continued says what it began with',
  inEnvironment(async (given) => {
    const a = echo(given)
    const w = given.workflow('w', async (n: number): Promise<number> => {
      await a.run(n)
      if (n < 3) return await continueAsNew(n + 1)
      return n
    })
    const handle = given.env.start(w, 1)
    assert.equal(await handle.result(), 3)
    for (const run of [1, 2, 3]) {
      const told = { execution: handle.execution(), run, events: handle.history(run) }
      const { then, args, result } = await replayHistory(told, w)
      const expected = run < 3 ? ['continue', [run + 1]] : ['complete', 3]
      assert.deepEqual([then, run < 3 ? args : result], expected)
    }
  }),
)

test('what follows a stored history', async () => {
  const own = new Own()
  const a = echo(own)
  const s = own.step('s', async () => {})
  const w = own.workflow('w', async (how: string): Promise<void> => {
    if (how === 'steps') await all([s.run(), a.run()])
    if (how === 'fails') throw new RangeError('x')
    await continueAsNew('again')
  })
  const replayed = (how: string) => replayHistory(STARTED, w, { args: [how] })
  const steps = await replayed('steps')
  assert.deepEqual([steps.then, steps.steps, steps.commands.length], ['keep', ['s'], 1])
  const fails = await replayed('fails')
  assert.deepEqual([fails.then, fails.error?.type], ['fail', 'RangeError'])
  const onward = await replayed('on')
  assert.deepEqual([onward.then, onward.args], ['continue', ['again']])
})

// --- how fast it is -------------------------------------------------------------------------

test('ten activities take milliseconds with the proof', async () => {
  const own = new Own()
  const a = echo(own)
  const w = own.workflow('w', async () => {
    let sum = 0
    for (let n = 0; n < 10; n++) sum += await a.run(n)
    return sum
  })
  const took: number[] = []
  for (let n = 0; n < 10; n++) {
    const before = process.cpuUsage()
    await withEnvironment({ functions: own.functions }, async (env) => {
      assert.equal(await env.run(w), 45)
    })
    const { user, system } = process.cpuUsage(before)
    took.push((user + system) / 1000)
  }
  assert.ok(Math.min(...took) < 100, `it is some 20 ms; these are ${took} ms`)
})

test('a thousand activities take less than a few seconds', async () => {
  const own = new Own()
  const a = echo(own)
  const w = own.workflow('w', async () => {
    const found: number[] = await all(Array.from({ length: 1000 }, (_, n) => a.run(n)))
    return found.reduce((sum, each) => sum + each, 0)
  })
  const before = process.cpuUsage()
  await withEnvironment({ functions: own.functions, prove: 'never' }, async (env) => {
    assert.equal(await env.run(w), 499_500)
  })
  const { user, system } = process.cpuUsage(before)
  assert.ok(user + system < 4e6, `it is some 0.5 s; this was ${(user + system) / 1e6} s`)
  await withEnvironment({ functions: own.functions }, async (env) => {
    assert.equal(await env.run(w), 499_500)
  })
})

async function caught(promise: Promise<unknown> | undefined): Promise<NonDeterminismError> {
  const error = await promise?.then(
    () => assert.fail('it was fulfilled'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof NonDeterminismError, String(error))
  return error
}
