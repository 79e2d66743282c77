/** A worker from its start to its end. */

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Closed, DatabaseUnavailable, SchemaMissing, WorkerNotFound } from '../src/_errors'
import { Operation } from '../src/_operations'
import { Worker } from '../src/_worker'
import { waitForSignal } from '../src/_workflow'
import { Moment, Rig, until } from './rig'

test('a drain lets finish what runs and claims nothing more', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const finish = new Moment()
  const slow = rig.job('slow', async () => {
    began.happen()
    await finish.happened
    return 'done'
  })
  const worker = await rig.start({ concurrency: 1 })
  const first = rig.queue(slow)
  const second = rig.queue(slow)
  await began.happened
  worker.stop()
  setTimeout(() => finish.happen(), 20)
  await worker.close()
  assert.deepEqual([first.status, second.status], ['completed', 'pending'])
})

test('after the drain time the rest is put back and counts as no attempt', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const endless = rig.job('endless', async () => {
    began.happen()
    await new Promise(() => {})
  })
  const worker = await rig.start({ drainTimeout: 0.01 })
  const row = rig.queue(endless)
  await began.happened
  worker.stop()
  await worker.close()
  assert.deepEqual([row.status, row.failures], ['pending', 0])
})

test('asked a second time to stop, it waits for nothing', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const endless = rig.job('endless', async () => {
    began.happen()
    await new Promise(() => {})
  })
  const worker = rig.worker({ drainTimeout: 3600 })
  const running = worker.run({ handleSignals: false })
  const row = rig.queue(endless)
  await began.happened
  worker.stop()
  await until(() => rig.told('info').some((line) => line.includes('is stopping')))
  worker.stop()
  await running
  assert.equal(row.status, 'pending')
})

test('a worker that was closed can be started again', async (t) => {
  const rig = new Rig(t)
  const good = rig.job('good', async () => 1)
  const worker = await rig.start()
  assert.equal((await rig.run(good)).result, 1)
  await worker.close()
  await worker.start()
  assert.equal((await rig.run(good)).result, 1)
})

test('a worker that could not start can be closed, and leaves nothing behind', async (t) => {
  const rig = new Rig(t)
  const before = process.listenerCount('unhandledRejection')
  rig.call = async () => {
    throw new SchemaMissing('not yet')
  }
  const worker = rig.worker()
  await assert.rejects(worker.start(), SchemaMissing)
  await worker.close()
  assert.equal(process.listenerCount('unhandledRejection'), before)
})

test('the end of a worker runs no suspended code', async (t) => {
  const rig = new Rig(t)
  const ran: string[] = []
  const w = rig.workflow('w', async () => {
    try {
      await waitForSignal('never')
    } finally {
      ran.push('finally')
    }
  })
  const worker = await rig.start()
  const row = rig.queue(w)
  await until(() => row.status === 'suspended')
  worker.stop()
  await worker.close()
  await pause(5)
  assert.deepEqual(ran, [])
})

test('a database that comes back needs no restart', async (t) => {
  const rig = new Rig(t)
  const good = rig.job('good', async () => 1)
  const failures = new Map<Operation, number>([
    [Operation.CLAIM, 2],
    [Operation.COMPLETE_EXECUTION, 2],
    [Operation.PULL_EVENTS, 1],
  ])
  const { call } = rig
  rig.call = async (operation, request, options) => {
    const left = failures.get(operation) ?? 0
    if (left === 0) return await call(operation, request, options)
    failures.set(operation, left - 1)
    throw new DatabaseUnavailable('PostgreSQL is restarting')
  }
  assert.equal((await rig.run(good)).result, 1)
  assert.deepEqual([...failures.values()], [0, 0, 0])
})

test('what cannot be waited out ends the worker with its error', async (t) => {
  const rig = new Rig(t)
  const { call } = rig
  rig.call = async (operation, request, options) => {
    if (operation === Operation.CLAIM) throw new SchemaMissing('it was dropped')
    return await call(operation, request, options)
  }
  await assert.rejects(rig.worker().run({ handleSignals: false }), SchemaMissing)
  assert.match(rig.told('error').join(), /the worker cannot go on: it was dropped/)
})

test('a worker that was declared dead drops what it held and registers anew', async (t) => {
  const rig = new Rig(t)
  const began: number[] = []
  const finish = new Moment()
  const slow = rig.job('slow', async () => {
    began.push(1)
    await finish.happened
    return began.length
  })
  const worker = await rig.start()
  const first = worker.workerId
  const row = rig.queue(slow)
  await until(() => began.length === 1)
  const { call } = rig
  let isDead = true
  rig.call = async (operation, request, options) => {
    const { worker_id } = request as { worker_id?: string }
    if (isDead && operation === Operation.CLAIM && worker_id === first) {
      throw new WorkerNotFound('no worker of this process has this id')
    }
    return await call(operation, request, options)
  }
  rig.queue(rig.job('other', () => {})) // the claim that waits ends with it
  await until(() => worker.workerId !== first)
  isDead = false
  rig.engine.steal(row) // as whoever declared it dead does
  await until(() => began.length === 2)
  finish.happen()
  assert.equal((await rig.end(row)).result, 2)
})

test('the outcome of a lost write is logged and not thrown', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const finish = new Moment()
  const slow = rig.job('slow', async () => {
    began.happen()
    await finish.happened
  })
  await rig.start()
  const row = rig.queue(slow)
  await began.happened
  row.token = "somebody else's"
  finish.happen()
  await until(() => rig.told('info').some((line) => line.includes('was not taken')))
})

test('options that make no sense are refused', () => {
  assert.throws(() => new Worker({ queues: 'mail' as never }), /must be a list of names/)
  assert.throws(() => new Worker({ concurrency: 0 }), RangeError)
  assert.throws(() => new Worker({ warm: -1 }), RangeError)
})

test('WORKFLOWS_WORKER_WARM and _MAX_CONCURRENT are what options do not say', async (t) => {
  process.env.WORKFLOWS_WORKER_WARM = '0'
  process.env.WORKFLOWS_WORKER_MAX_CONCURRENT = '3'
  t.after(() => {
    delete process.env.WORKFLOWS_WORKER_WARM
    delete process.env.WORKFLOWS_WORKER_MAX_CONCURRENT
  })
  const rig = new Rig(t)
  await rig.start()
  await rig.start({ warm: 5, concurrency: 4 })
  const told = rig.engine.calls
    .filter(([name]) => name === 'start_worker')
    .map(([, { warm, concurrency, language, runtime }]) => [warm, concurrency, language, runtime])
  const runtime = process.versions.node.split('.').slice(0, 2).join('.')
  assert.deepEqual(told, [
    [false, 3, 'node', runtime],
    [true, 4, 'node', runtime],
  ])
})

test('a worker that has forgotten a workflow reads its history, page by page', async (t) => {
  const rig = new Rig(t)
  const a = rig.activity('a', async (x: number) => x)
  const w = rig.workflow('w', async () => {
    let total = 0
    for (let n = 0; n < 5; n++) total += await a.run(n)
    await waitForSignal('go')
    return total
  })
  await rig.start({ warm: 1 })
  const row = rig.queue(w)
  await until(() => row.status === 'suspended' && row.events.length >= 11)
  const other = rig.queue(rig.workflow('other', async () => await waitForSignal('never')))
  await until(() => other.status === 'suspended')
  const { call } = rig
  let pages = 0
  rig.call = async (operation, request, options) => {
    if (operation !== Operation.GET_HISTORY) return await call(operation, request, options)
    pages += 1
    return await call(operation, { ...request, limit: 4 }, options)
  }
  await rig.signal(row.id, 'go')
  assert.equal((await rig.end(row)).result, 10)
  assert.ok(pages >= 3, `${pages} pages`)
})

for (const warm of [100, 0]) {
  test(`code that went on for what is not durable fails, with warm: ${warm}`, async (t) => {
    const rig = new Rig(t)
    const ends: (() => void)[] = []
    const foreign = () => new Promise<string>((resolve) => ends.push(() => resolve('foreign')))
    const racing = rig.workflow('racing', () => Promise.race([foreign(), waitForSignal('go')]))
    const calling = rig.workflow('calling', async () => {
      const left = foreign().then(() => waitForSignal('other'))
      left.catch(() => {}) // nobody awaits it
      return await waitForSignal('go')
    })
    const patient = rig.workflow('patient', () => Promise.race([foreign(), waitForSignal('go')]))
    await rig.start({ warm })
    const rows = [racing, calling, patient].map((each) => rig.queue(each))
    await until(() => rows.every(({ status }) => status === 'suspended'))
    for (const end of ends.slice(0, 2)) end()
    await pause(1)
    for (const row of rows) await rig.signal(row.id, 'go')
    for (const row of rows) await rig.end(row)
    for (const row of rows.slice(0, 2)) {
      assert.equal(row.status, 'failed')
      assert.equal(row.error?.type, 'NotDurableError')
      assert.match(`${row.error?.message}`, /something ended that is not durable/)
    }
    assert.equal(rows[2]?.status, 'completed', 'nothing has ended here')
  })
}

test('a workflow that blocks the event loop for long is warned about', async (t) => {
  const rig = new Rig(t)
  const w = rig.workflow('blocks', async () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100) // no clock is needed
    return 1
  })
  await rig.run(w)
  assert.match(rig.told().join('\n'), /workflow blocks .* held the event loop for 1\.\d s/)
})

test('an outage leaves no listener behind for each try', async (t) => {
  const rig = new Rig(t)
  const good = rig.job('good', async () => 1)
  const { call } = rig
  let signal: AbortSignal | undefined
  let left = 4
  rig.call = async (operation, request, options) => {
    if (operation !== Operation.START_WORKER || left-- === 0) {
      return await call(operation, request, options)
    }
    signal = options?.signal
    throw new DatabaseUnavailable('PostgreSQL is restarting')
  }
  assert.equal((await rig.run(good)).result, 1)
  assert.ok(signal)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

/** Has the database out of reach: a call fails at once, or hangs until it is given up. */
function unreachable(rig: Rig, how: 'fails' | 'hangs'): Moment {
  const tried = new Moment()
  rig.call = async (_operation, _request, options) => {
    tried.happen()
    if (how === 'fails') throw new DatabaseUnavailable('nobody listens there')
    return await pause(60_000, undefined, { signal: options?.signal, ref: false }).catch(() => {
      throw options?.signal?.reason
    })
  }
  return tried
}

test('a worker that never reached its database stops at once, and says what kept it', async (t) => {
  const rig = new Rig(t)
  const tried = unreachable(rig, 'fails')
  const worker = rig.worker()
  const running = worker.run({ handleSignals: false })
  await tried.happened
  worker.stop()
  await assert.rejects(running, DatabaseUnavailable)
  await worker.close()
})

test('SIGTERM while the first try is on its way ends run() without an error', async (t) => {
  const rig = new Rig(t)
  const tried = unreachable(rig, 'hangs')
  const running = rig.worker().run()
  await tried.happened
  process.kill(process.pid, 'SIGTERM')
  await running
})

test('close() ends a start that is on its way', async (t) => {
  const rig = new Rig(t)
  const tried = unreachable(rig, 'hangs')
  const worker = rig.worker()
  const refused = assert.rejects(worker.start(), {
    name: 'Closed',
    message: /before it had started/,
  })
  await tried.happened
  await worker.close()
  await refused
})

test('a stop before the start is remembered, once', async (t) => {
  const rig = new Rig(t)
  const good = rig.job('good', async () => 1)
  const worker = rig.worker()
  worker.stop()
  await worker.run({ handleSignals: false })
  worker.stop()
  await assert.rejects(worker.start(), Closed)
  assert.deepEqual(rig.engine.calls, [])
  await worker.start()
  assert.equal((await rig.run(good)).result, 1)
})

test('a worker that runs is not started again', async (t) => {
  const rig = new Rig(t)
  const good = rig.job('good', async () => 1)
  const worker = await rig.start()
  await assert.rejects(worker.start(), /this worker runs already/)
  await assert.rejects(worker.run({ handleSignals: false }), /this worker runs already/)
  assert.equal((await rig.run(good)).result, 1, 'and goes on')
  const closing = worker.close()
  await assert.rejects(worker.start(), /this worker runs already/)
  await closing
  await worker.start()
})
