/** What a worker tells the log, and where that goes. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { abortSignal } from '../src/_attempts'
import { log, setLogger, setLogLevel } from '../src/_log'
import { Moment, Rig, until } from './rig'

test('the first line of the log says what the worker serves', async (t) => {
  const rig = new Rig(t)
  for (let n = 0; n < 12; n++) rig.activity(`a${String(n).padStart(2, '0')}`, async () => {})
  rig.job('only', async () => {})
  await rig.start({ queues: ['mail', 'orders'], concurrency: 7 })
  const [line] = rig.told('info')
  for (const part of [
    'queues mail orders',
    '7 at a time',
    'activities a00',
    'a09 and 2 more',
    'job only',
  ]) {
    assert.ok(line?.includes(part), `${part} in ${line}`)
  }
})

test('a failure is one line of the log', async (t) => {
  const rig = new Rig(t)
  const declined = rig.job(
    'declined',
    () => {
      throw new RangeError('no funds\nand more')
    },
    { retries: 1, initial: 0.001 },
  )
  const broken = rig.step(
    'broken',
    () => {
      throw new TypeError('x')
    },
    { retries: 0 },
  )
  const w = rig.workflow('w', async () => await broken.run())
  const first = await rig.run(declined)
  const second = await rig.run(w)
  assert.deepEqual(rig.told(), [
    `job declined ${first.id} failed in attempt 1: RangeError: no funds`,
    `job declined ${first.id} failed in attempt 2: RangeError: no funds`,
    `step broken of workflow w ${second.id} failed in attempt 1: TypeError: x`,
    `workflow w ${second.id} failed: StepError: TypeError: x`,
  ])
  const stack = first.error?.stack as string
  assert.match(stack, /log\.test\.ts/)
  assert.doesNotMatch(stack, /_attempts\.ts/, 'how a body is called says nothing about it')
})

test('the log shows nothing that a terminal obeys or a file cannot hold', async (t) => {
  const rig = new Rig(t)
  const odd = rig.job(
    'odd',
    () => {
      throw new Error('no \x1b[31m\x00 \ud800 f\u00fcnds \u{1f600}')
    },
    { retries: 0 },
  )
  await rig.run(odd)
  const [line] = rig.told()
  assert.ok(line?.endsWith('Error: no \\x1b[31m\\x00 \\ud800 f\u00fcnds \u{1f600}'), line)
})

test('what was cancelled has not failed', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const slow = rig.job('slow', async () => {
    began.happen()
    await pause(3_600_000, undefined, { signal: abortSignal() })
  })
  await rig.start()
  const row = rig.queue(slow)
  await began.happened
  rig.engine.stop(row)
  await rig.end(row)
  assert.equal(row.status, 'cancelled')
  assert.deepEqual(rig.told(), [])
})

test('a drain says what it waits for', async (t) => {
  const rig = new Rig(t)
  const began = new Moment()
  const finish = new Moment()
  const slow = rig.job('slow', async () => {
    began.happen()
    await finish.happened
  })
  const worker = await rig.start()
  const row = rig.queue(slow)
  await began.happened
  const ending = worker.close()
  await until(() => rig.told('info').some((line) => line.includes('1 in number')))
  finish.happen()
  await ending
  assert.equal(row.status, 'completed')
  assert.ok(rig.told('info').at(-1)?.endsWith('executions put back: 0'))
})

function written(t: TestContext, act: () => void): string {
  const { write } = process.stderr
  let text = ''
  process.stderr.write = ((part: string) => {
    text += part
    return true
  }) as typeof process.stderr.write
  t.after(() => {
    process.stderr.write = write
  })
  try {
    act()
  } finally {
    process.stderr.write = write
  }
  return text
}

test('without a logger, what matters goes to stderr, a line each', (t) => {
  const text = written(t, () => {
    log.info('nothing')
    log.warn('something')
    setLogLevel('info')
    log.info('more')
    setLogLevel('warn')
  })
  const lines = text.trimEnd().split('\n')
  assert.equal(lines.length, 2)
  assert.match(lines[0] ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING something$/)
  assert.match(lines[1] ?? '', /INFO more$/)
})

test('a logger that is none is refused, and one that fails ends nothing', (t) => {
  t.after(() => setLogger())
  assert.throws(() => setLogger({} as never), /a logger must have a method debug\(\)/)
  setLogger({
    ...console,
    warn: () => {
      throw new Error('disk full')
    },
  })
  log.warn('x')
})
