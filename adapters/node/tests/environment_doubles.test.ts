/** What stands in for bodies and workflows, and the log of what was called. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ActivityError,
  ActivityTimeout,
  activity,
  all,
  attemptInfo,
  ChildFailed,
  ExecutionFailed,
  heartbeat,
  lastHeartbeat,
  NonRetryableError,
  race,
  StepError,
  sleep,
  waitForSignal,
  workflow,
} from '../src'
import { Stuck } from '../src/testing/index'
import { DAY, type Given, HOUR, inEnvironment } from './environments'

interface Receipt {
  readonly number: string
}

class Busy extends Error {
  override readonly name = 'Busy'
}

class Declined extends NonRetryableError {
  override readonly name = 'Declined'
}

/** A workflow that pays with an activity whose body must not run. */
function paying({ activity, workflow }: Given) {
  const options = { retries: 3, initial: '1s', timeout: '30s' } as const
  const body = async (_card: string, _cents: number): Promise<Receipt> => {
    throw new Error('the body itself has run')
  }
  const charge = activity('charge', body, options)
  const pays = workflow('pays', async () => {
    try {
      return (await charge.run('4242', 100)).number
    } catch (error) {
      if (!(error instanceof ActivityError)) throw error
      return `${error.type} ${error.attempts}`
    }
  })
  return { charge, pays }
}

test(
  'a value',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    env.replace(charge, { returns: { number: 'r-1' } })
    assert.equal(await env.run(pays), 'r-1')
    const [call, ...more] = env.calls(charge)
    assert.equal(more.length, 0)
    assert.deepEqual([call?.name, call?.kind, call?.args], ['charge', 'activity', ['4242', 100]])
    assert.deepEqual([call?.attempts, call?.errors, call?.status], [1, [], 'completed'])
    assert.deepEqual(call?.result, { number: 'r-1' })
    assert.deepEqual([call?.started, call?.ended], [env.now(), env.now()])
  }),
)

test(
  'an error or its class',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    env.replace(charge, { throws: new Busy('later') })
    assert.equal(await env.run(pays), 'Busy 4')
    assert.equal(env.elapsed, 1 + 2 + 4)
    env.replace(charge, { throws: Declined })
    assert.equal(await env.run(pays), 'Declined 1')
    const [first, second] = env.calls(charge)
    const messages = first?.errors.map((error) => error.message)
    assert.deepEqual(messages, ['later', 'later', 'later', 'later'])
    assert.deepEqual([second?.status, second?.errors.length], ['failed', 1])
  }),
)

test(
  'outcomes one after another',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    const outcomes = [Busy, new Busy('still'), { number: 'r-1' }, { number: 'r-2' }]
    const charged = env.replace(charge, { outcomes })
    const found = [await env.run(pays), await env.run(pays), await env.run(pays)]
    assert.deepEqual(found, ['r-1', 'r-2', 'r-2'], 'the last one stays')
    assert.deepEqual(
      charged.calls.map(({ attempts }) => attempts),
      [3, 1, 1],
    )
  }),
)

test(
  'a function, async or not',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    const bank = (card: string, cents: number): Receipt => {
      heartbeat({ asked: attemptInfo().attempt })
      if (attemptInfo().attempt === 1) throw new Busy()
      assert.ok(lastHeartbeat())
      return { number: `${card}:${cents}` }
    }
    const slowBank = async (card: string, cents: number) => {
      await new Promise((resolve) => setTimeout(resolve, 29_000)) // takes no time
      return bank(card, cents)
    }
    for (const does of [bank, slowBank]) {
      env.replace(charge, { does })
      assert.equal(await env.run(pays), '4242:100')
    }
    assert.deepEqual(
      env.calls(charge).map(({ attempts }) => attempts),
      [2, 2],
    )
    assert.equal(env.elapsed, 1 + 29 + 1 + 29)
  }),
)

test(
  'how long it takes',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    env.replace(charge, { returns: { number: 'r-1' }, takes: '20s' })
    assert.equal(await env.run(pays), 'r-1')
    assert.equal(env.elapsed, 20)
    env.replace(charge, { returns: { number: 'late' }, takes: '31s' })
    assert.equal(await env.run(pays), 'AttemptTimeout 4')
    assert.equal(env.elapsed, 20 + 4 * 30 + 7)
  }),
)

test(
  'the body itself after a while',
  inEnvironment(async ({ env, activity, workflow }) => {
    const first = activity('first', (x: number) => x + 1)
    const second = activity('second', async (x: number) => x + 1)
    const w = workflow('w', async () => await first.run(await second.run(1)))
    env.replace(first, { takes: '1h' })
    env.replace(second, { takes: '2h' })
    assert.equal(await env.run(w), 3)
    assert.equal(env.elapsed, 3 * HOUR)
  }),
)

test(
  'the latest counts until it is removed',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    const first = env.replace(charge, { returns: { number: 'first' } })
    const second = env.replace(charge, { returns: { number: 'second' } })
    assert.equal(await env.run(pays), 'second')
    second.remove()
    assert.equal(await env.run(pays), 'first')
    first.remove()
    first.remove()
    assert.equal(await env.run(pays), 'Error 4')
    assert.equal(first.name, 'charge')
  }),
)

test(
  'what stands in is cancelled like a body',
  inEnvironment(async (given) => {
    const { env, workflow } = given
    const { charge } = paying(given)
    const w = workflow('w', async () => {
      const [winner] = await race({ paid: charge.run('4242', 1), late: sleep('10s') })
      return winner
    })
    env.replace(charge, { returns: { number: 'late' }, takes: '20s' })
    assert.equal(await env.run(w), 'late')
    await env.skip('1m')
    assert.deepEqual(
      env.calls(charge).map(({ status }) => status),
      ['cancelled'],
    )
  }),
)

test(
  'steps and jobs',
  inEnvironment(async ({ env, step, job, workflow }) => {
    const never = async (_x: number): Promise<number> => assert.fail('it has run')
    const s = step('s', never, { retries: 2, initial: '1s' })
    const j = job('j', never)
    const w = workflow('w', async () => {
      try {
        return [await s.run(1), await j.run(2)]
      } catch (error) {
        if (!(error instanceof StepError)) throw error
        return [error.type, error.attempts]
      }
    })
    env.replace(s, { outcomes: [Busy, 10] })
    env.replace(j, { returns: 20 })
    assert.deepEqual(await env.run(w), [10, 20])
    const told = env.calls().map(({ kind, args, attempts }) => [kind, ...args, attempts])
    assert.deepEqual(told, [
      ['step', 1, 2],
      ['job', 2, 1],
    ])
    env.replace(s, { throws: Busy })
    assert.deepEqual(await env.run(w), ['Busy', 3])
    assert.equal(env.calls(s)[1]?.attempts, 3)
  }),
)

test(
  'calls are told in the order in which they began',
  inEnvironment(async ({ env, activity, workflow }) => {
    const a = activity('a', async (_x: number) => {})
    const b = activity('b', async (_x: number) => {})
    const w = workflow('w', async () => {
      await all([a.run(1), b.run(2), a.run(3)])
      await b.run(4)
    })
    await env.run(w)
    const told = env.calls().map(({ name, args }) => [name, ...args])
    assert.deepEqual(told, [
      ['a', 1],
      ['b', 2],
      ['a', 3],
      ['b', 4],
    ])
    assert.deepEqual(
      env.calls('b').map(({ args }) => args),
      [[2], [4]],
    )
    assert.deepEqual(env.calls('c'), [])
  }),
)

test(
  'code of another language',
  inEnvironment(async ({ env, workflow: define }) => {
    const paint = activity.external<(color: string) => string>({ name: 'paint', queue: 'python' })
    const pack = workflow.external<(n: number) => number>({ name: 'pack', queue: 'python' })
    const w = define('w', async () => [await paint.run('red'), await pack.run(7)])
    await assert.rejects(env.run(w), isStuck(/no activity 'paint' here.*env\.replace\('paint'/))
    env.replace('paint', { does: (color: string) => `${color} paint` })
    await assert.rejects(env.run(w), isStuck(/'pack'/))
    env.replace('pack', { returns: 8 })
    assert.deepEqual(await env.run(w), ['red paint', 8])
    assert.deepEqual(env.calls('paint').at(-1)?.args, ['red'])
    assert.deepEqual(env.calls('pack').at(-1)?.args, [7])
  }),
)

test(
  'child workflows',
  inEnvironment(async ({ env, workflow }) => {
    const child = workflow(
      'child',
      async (_x: number): Promise<number> => assert.fail('it has run'),
    )
    const w = workflow('w', async () => {
      const found: unknown[] = []
      for (let x = 0; x < 4; x++) {
        try {
          found.push(await child.run(x))
        } catch (error) {
          if (!(error instanceof ChildFailed)) throw error
          found.push(`${error.type} ${error.message}`)
        }
      }
      return found
    })
    env.replace(child, { outcomes: [10, new Busy('child'), 30], takes: '1d' })
    assert.deepEqual(await env.run(w), [10, 'Busy child', 30, 30])
    assert.equal(env.elapsed, 4 * DAY)
    const calls = env.calls(child)
    assert.deepEqual(
      calls.map(({ args, status, result }) => [...args, status, result]),
      [
        [0, 'completed', 10],
        [1, 'failed', undefined],
        [2, 'completed', 30],
        [3, 'completed', 30],
      ],
    )
    assert.equal(String(calls[1]?.errors[0]), 'Busy: child')
  }),
)

test(
  'a workflow in place of a workflow',
  inEnvironment(async ({ env, workflow }) => {
    const child = workflow(
      'child',
      async (_x: number): Promise<string> => assert.fail('it has run'),
    )
    const w = workflow('w', async () => await child.run(1))
    env.replace(child, { does: async (x) => `${x} ${await waitForSignal('word')}` })
    const handle = env.start(w)
    await env.skip()
    handle.child(child).signal('word', 'yes')
    assert.equal(await handle.result(), '1 yes')
    env.replace(child, { does: (x) => `${x} at once` })
    assert.equal(await env.run(w), '1 at once')
  }),
)

test(
  'what is no JSON fails as in production',
  inEnvironment(async (given) => {
    const { env } = given
    const { charge, pays } = paying(given)
    const w = given.workflow('w', async () => await charge.run('4242', 1))
    env.replace(charge, { returns: new Set([1]) as unknown as Receipt })
    await assert.rejects(env.run(w), /PayloadError/)
    assert.equal(await env.run(pays), 'PayloadError 1')
    await assert.rejects(env.run(w), ExecutionFailed)
  }),
)

test(
  'a timeout of a call is told from its failure',
  inEnvironment(async ({ env, activity, workflow }) => {
    const limits = { totalTimeout: '1m', timeout: '20s' } as const
    const options = { ...limits, retries: 100, initial: '1s', factor: 1 } as const
    const a = activity('a', async () => {}, options)
    const w = workflow('w', async () => {
      const error = await a.run().catch((error: unknown) => error)
      return error instanceof ActivityTimeout ? `${error.type} ${error.attempts}` : error
    })
    env.replace(a, { takes: '1h' })
    assert.equal(await env.run(w), 'ExecutionTimeout 3')
    assert.equal(env.elapsed, 60)
  }),
)

test(
  'mistakes are told',
  inEnvironment(async (given) => {
    const { charge } = paying(given)
    const replace = (instead: object) => () => given.env.replace(charge as any, instead)
    assert.throws(replace({ returns: 1, throws: Busy }), /give one of/)
    assert.throws(replace({ returns: 1, does: () => 1 }), /give one of/)
    assert.throws(replace({ throws: 'Busy' }), /throws must be/)
    assert.throws(replace({ outcomes: [] }), /outcomes must have/)
  }),
)

test(
  'replacements are typed',
  inEnvironment(async (given) => {
    const { charge } = paying(given)
    // @ts-expect-error it is no receipt
    given.env.replace(charge, { returns: 1 })
    // @ts-expect-error neither is this
    given.env.replace(charge, { outcomes: [1] })
    // @ts-expect-error its first argument is a text
    given.env.replace(charge, { does: (card: number) => ({ number: String(card) }) })
  }),
)

function isStuck(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof Stuck && message.test(error.message)
}
