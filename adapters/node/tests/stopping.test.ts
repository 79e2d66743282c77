/** Bodies that are stopped, that stop themselves, and what they report before they end. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { abortSignal, after, Bodies, cancelled, heartbeat, lastHeartbeat } from '../src/_attempts'
import type { Client } from '../src/_client'
import { all, race } from '../src/_combinators'
import { Crowd } from '../src/_crowd'
import { CancelledError } from '../src/_errors'
import { Held } from '../src/_executions'
import { Operation } from '../src/_operations'
import { StepError } from '../src/_outcomes'
import { Replay } from '../src/_replay'
import { pauseOf } from '../src/_steps'
import { sleep, waitForSignal } from '../src/_workflow'
import { Moment, Rig, until } from './rig'

/** Has something done right behind the begin of what is held. */
function behindBegin(t: { after(undo: () => void): void }, act: (held: Held) => void): void {
  const { begin } = Held.prototype
  Held.prototype.begin = function (this: Held) {
    begin.call(this)
    act(this)
  }
  t.after(() => {
    Held.prototype.begin = begin
  })
}

for (const told of [{ cancel_requested: true }, { lost: true }]) {
  const what = JSON.stringify(told)
  test(`a stop in the moment of the start frees the slot: ${what}`, async (t) => {
    // The claim and the notice come out of one drain of the channel, one right after the other.
    const rig = new Rig(t)
    const ran: string[] = []
    const never = rig.job('never', () => void ran.push('body'))
    behindBegin(t, (held) => {
      if (held.claimed.attempt !== 1) return
      const row = rig.engine.rows.get(held.id)
      assert.ok(row)
      if ('lost' in told) rig.engine.steal(row)
      else rig.engine.stop(row)
      held.notice(told)
    })
    const worker = await rig.start({ concurrency: 1 })
    const row = await rig.end(rig.queue(never))
    assert.equal(row.status, 'lost' in told ? 'completed' : 'cancelled')
    assert.deepEqual(ran, 'lost' in told ? ['body'] : [])
    await until(() => worker.isIdle)
  })
}

test('a step that throws CancelledError by itself has failed and is retried', async (t) => {
  const rig = new Rig(t)
  const ran: number[] = []
  const cancelsItself = rig.step(
    'cancelsItself',
    async () => {
      ran.push(1)
      throw new CancelledError('by itself')
    },
    { retries: 1, initial: 0.001 },
  )
  const w = rig.workflow('w', async () => {
    try {
      await cancelsItself.run()
    } catch (error) {
      assert.ok(error instanceof StepError)
      return [error.type, error.message.includes('by itself'), error.attempts]
    }
    return []
  })
  assert.deepEqual((await rig.run(w)).result, ['CancelledError', true, 2])
  assert.equal(ran.length, 2)
})

test('a step whose attempts time out is retried', async (t) => {
  const rig = new Rig(t)
  const ran: number[] = []
  const thirdTime = rig.step(
    'thirdTime',
    async () => {
      ran.push(1)
      if (ran.length < 3) await until(cancelled)
      return ran.length
    },
    { retries: 2, initial: 0.001, timeout: 0.02 },
  )
  const w = rig.workflow('w', async () => await thirdTime.run())
  assert.equal((await rig.run(w)).result, 3)
})

test('what goes on of a try that timed out stays cancelled while the next one runs', async (t) => {
  const rig = new Rig(t)
  const seen: boolean[] = []
  const second = new Moment()
  const done = new Moment()
  const twice = rig.step(
    'twice',
    async () => {
      if (!second.has && seen.length === 0) {
        seen.push(cancelled())
        await second.happened
        seen.push(cancelled())
        done.happen()
        return 'first'
      }
      seen.push(cancelled())
      second.happen()
      await done.happened
      return 'second'
    },
    { retries: 1, initial: 0.001, timeout: 0.05 },
  )
  const w = rig.workflow('w', async () => await twice.run())
  assert.equal((await rig.run(w)).result, 'second')
  assert.deepEqual(seen, [false, false, true])
})

test('the last progress before a failure is there for the next attempt', async (t) => {
  const rig = new Rig(t)
  const seen: unknown[] = []
  const counts = rig.activity(
    'counts',
    () => {
      seen.push(lastHeartbeat())
      for (let done = 0; done < 3; done++) heartbeat([seen.length, done])
      if (seen.length < 3) throw new Error()
      return seen.length
    },
    { retries: 2 },
  )
  assert.equal((await rig.run(counts)).result, 3)
  assert.deepEqual(seen, [null, [1, 2], [2, 2]])
})

test('progress in the moment of the stop is there for the next worker', async (t) => {
  const rig = new Rig(t)
  const seen: unknown[] = []
  const saves = rig.job('saves', async () => {
    seen.push(lastHeartbeat())
    heartbeat('begun')
    if (seen.length > 1) return
    try {
      await pause(3_600_000, undefined, { signal: abortSignal() })
    } finally {
      heartbeat('saved')
    }
  })
  const worker = await rig.start({ drainTimeout: 0 })
  const row = rig.queue(saves)
  await until(() => seen.length > 0)
  worker.stop()
  await worker.close()
  assert.deepEqual([row.status, row.failures], ['pending', 0])
  await rig.start()
  await rig.end(row)
  assert.deepEqual(seen, [null, 'saved'])
})

test('a stop while the last progress is written interrupts nothing', async (t) => {
  // A cancel comes when the body has failed, and its failure is not yet told.
  const rig = new Rig(t)
  const fails = rig.job(
    'fails',
    async () => {
      heartbeat(1)
      throw new Error()
    },
    { retries: 0 },
  )
  const worker = await rig.start()
  const record = worker.record.bind(worker)
  worker.record = async (held, details) => {
    const row = rig.engine.rows.get(held.id)
    assert.ok(row)
    rig.engine.stop(row)
    held.notice({ cancel_requested: true })
    await null
    await record(held, details)
  }
  assert.equal((await rig.end(rig.queue(fails))).status, 'cancelled')
  await until(() => worker.isIdle)
})

test('a body that goes on after its timeout keeps its slot', async (t) => {
  const rig = new Rig(t)
  const finish = new Moment()
  const log: string[] = []
  const stuck = rig.job(
    'stuck',
    async () => {
      await finish.happened
      log.push('stuck returns')
    },
    { timeout: 0.02, retries: 0 },
  )
  const other = rig.job('other', () => void log.push('other runs'))
  const worker = await rig.start({ concurrency: 1 })
  assert.equal((await rig.run(stuck)).status, 'failed')
  const row = rig.queue(other)
  await pause(100)
  assert.deepEqual([row.status, worker.bodies.abandoned], ['pending', 1], 'no slot is free for it')
  finish.happen()
  assert.equal((await rig.end(row)).status, 'completed')
  assert.deepEqual(log, ['stuck returns', 'other runs'])
  assert.equal(worker.bodies.abandoned, 0)
})

test('bodies that never return and take all slots are named in the log', async (t) => {
  const rig = new Rig(t)
  const finish = new Moment()
  const stuck = rig.job('stuck', async () => await finish.happened, { timeout: 0.02, retries: 0 })
  const worker = await rig.start({ concurrency: 1 })
  const told = () => rig.told().filter((line) => line.includes('no slot is free'))
  await rig.run(rig.job('good', async () => await pause(20)))
  assert.deepEqual(told(), [], 'a slot that is in use is no news')
  const row = await rig.end(rig.queue(stuck))
  await until(() => told().length > 0)
  assert.match(told().join(), new RegExp(`1 of them taken by .*: job stuck ${row.id}\\. `))
  assert.match(told().join(), /look at cancelled\(\)/)
  finish.happen()
  await until(() => worker.bodies.abandoned === 0)
})

test('bodies that take all slots are told of again after a while, and not before', async (t) => {
  const rig = new Rig(t)
  const crowd = new Crowd(50)
  const names = ['job a 1', 'job b 2', 'job c 3', 'job d 4', 'job e 5', 'job f 6']
  crowd.tell([])
  crowd.tell(names)
  crowd.tell(names)
  assert.equal(rig.told().length, 1)
  assert.match(rig.told().join(), /job d 4, job e 5 and 1 more\./)
  t.after(crowd.watch(() => names))
  await until(() => rig.told().length > 1)
})

test('what a step does to its arguments stays in the step', async (t) => {
  const rig = new Rig(t)
  const adds = rig.step('adds', async (items: number[], more: Record<string, number>) => {
    items.push(4)
    more.b = 2
    return items.length + Object.keys(more).length
  })
  const w = rig.workflow('w', async () => {
    const items = [1, 2, 3]
    const more = { a: 1 }
    const call = adds.run(items, more)
    items.length = 0 // nor does what comes after the call reach the step
    return [await call, items, more]
  })
  assert.deepEqual((await rig.run(w)).result, [6, [], { a: 1 }])
})

/** Has workflow code take its time to be told of events, as with a long history. */
function slowFeeds(t: { after(undo: () => void): void }): { most: number } {
  const { feed } = Replay.prototype
  const seen = { most: 0, now: 0 }
  Replay.prototype.feed = async function (this: Replay, events) {
    seen.now += 1
    seen.most = Math.max(seen.most, seen.now)
    await pause(5)
    await feed.call(this, events)
    await pause(5)
    seen.now -= 1
  }
  t.after(() => {
    Replay.prototype.feed = feed
  })
  return seen
}

test('what comes while the code is being told of events waits until it was', async (t) => {
  const seen = slowFeeds(t)
  const rig = new Rig(t)
  const quick = rig.step('quick', async (n: number) => n)
  const w = rig.workflow('w', async () => {
    const steps = []
    for (let n = 0; n < 20; n++) {
      steps.push(quick.run(n))
      await waitForSignal('next')
    }
    return await all(steps)
  })
  await rig.start()
  const row = rig.queue(w)
  await until(() => row.events.length > 0)
  for (let n = 0; n < 20; n++) {
    await rig.signal(row.id, 'next')
    await pause(3)
  }
  assert.deepEqual((await rig.end(row)).result, [...Array(20).keys()])
  assert.equal(seen.most, 1, 'never two at a time')
})

test('a step that ends while the code gives it up leaves no event behind', async (t) => {
  slowFeeds(t)
  const rig = new Rig(t)
  const began = new Moment()
  const givenUp = new Moment()
  const ended = new Moment()
  const waits = rig.step('waits', async () => {
    began.happen()
    await givenUp.happened
    ended.happen()
    return 'too late'
  })
  const w = rig.workflow('w', async () => {
    const [name] = await race({ step: waits.run(), signal: waitForSignal('enough') })
    givenUp.happen()
    await sleep(1)
    return name
  })
  await rig.start()
  const row = rig.queue(w)
  await began.happened
  await rig.signal(row.id, 'enough')
  assert.equal((await rig.end(row)).result, 'signal')
  assert.ok(ended.has)
  assert.deepEqual(
    row.events.filter(({ type }) => type === 'step_completed'),
    [],
  )
})

test('a lease that is lost while the code is being told of events loses nothing', async (t) => {
  slowFeeds(t)
  const rig = new Rig(t)
  const a = rig.activity('a', async (n: number) => n)
  const w = rig.workflow('w', async () => {
    let total = 0
    for (let n = 0; n < 10; n++) total += await a.run(n)
    return total
  })
  await rig.start()
  const row = rig.queue(w)
  for (let n = 1; n <= 5; n++) {
    await until(() => row.status === 'running' && row.events.length > 4 * n)
    rig.engine.steal(row)
  }
  assert.equal((await rig.end(row)).result, 45)
  const told = row.events.filter(({ type }) => type === 'activity_scheduled')
  assert.equal(told.length, 10, 'nothing was asked for twice')
})

test('what is claimed anew while it is let go of goes on from memory', async (t) => {
  slowFeeds(t)
  const rig = new Rig(t)
  const w = rig.workflow('w', async () => {
    for (let n = 0; n < 50; n++) await waitForSignal('s')
    return 'done'
  })
  await rig.start({ concurrency: 2 })
  const row = rig.queue(w)
  await until(() => row.events.length > 0)
  // The next claim comes at once, while the code is being told what the suspension wrote.
  const { perform } = rig.engine
  let left = 50
  rig.engine.perform = function (this: typeof rig.engine, operation, request) {
    const reply = perform.call(this, operation, request)
    if (operation === Operation.ADVANCE_WORKFLOW && row.status === 'suspended' && left-- > 0) {
      perform.call(this, Operation.SEND_SIGNAL, { items: [{ id: row.id, name: 's' }] })
    }
    return reply
  }
  await rig.signal(row.id, 's')
  assert.equal((await rig.end(row)).result, 'done')
  assert.deepEqual(
    rig.engine.calls.filter(([name]) => name === 'get_history'),
    [],
  )
})

test('sleep beside a step that was given up ends the workflow', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const endless = rig.step('endless', async () => {
    began.happen()
    await until(cancelled, 'the cancel', 20_000)
  })
  const w = rig.workflow('w', async () => {
    const [name] = await race({ step: endless.run(), late: sleep(0.01) })
    return name
  })
  await rig.start()
  const row = rig.queue(w)
  await began.happened
  rig.engine.advanceTo(rig.engine.clock.now + 1_000_000)
  rig.engine.poke()
  assert.equal((await rig.end(row)).result, 'late')
})

// --- pauses and timers --------------------------------------------------------------------

for (const [spread, expected] of [
  [0, 4000],
  [1, 5000],
  [-1, 3000],
] as const) {
  test(`the pauses of a step have the jitter of its policy: ${spread}`, () => {
    const policy = { initial_ms: 1000, factor: 2, jitter: 0.25 }
    assert.equal(pauseOf(policy, 3, spread), expected)
  })
}

test('the default jitter of a step is a tenth either way', () => {
  const bodies = new Bodies({} as Client, () => {})
  const pauses = Array.from({ length: 200 }, () => pauseOf({}, 1, bodies.spread()))
  assert.ok(Math.min(...pauses) >= 900 && Math.min(...pauses) < 1000)
  assert.ok(Math.max(...pauses) > 1000 && Math.max(...pauses) <= 1100)
})

test('a timeout of months does not end at once', async () => {
  let fired = false
  const forget = after(60 * 86_400_000, () => {
    fired = true
  })
  await pause(20)
  forget()
  assert.equal(fired, false)
})
