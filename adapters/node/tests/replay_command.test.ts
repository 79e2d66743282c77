/** `workflows replay`: verdicts on histories, and the command. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from '../src/_client'
import { all } from '../src/_combinators'
import { WrongLanguage } from '../src/_errors'
import type { Event } from '../src/_operations'
import {
  CommandError,
  check,
  fromFile,
  parseReplay,
  type ReplayOptions,
  runReplay,
  type StoredExecution,
  stored,
  type Verdict,
} from '../src/_replay_command'
import { Worker } from '../src/_worker'
import { continueAsNew, getVersion, waitForSignal } from '../src/_workflow'
import { Rig } from './rig'
import { temporary } from './stage'

const AT = '2026-01-01T00:00:00+00:00'
const ID = '018f0000-0000-7000-8000-000000000001'

type Happening = Partial<Event> & Pick<Event, 'type'>

function execution(fields: Partial<StoredExecution> = {}): StoredExecution {
  const about = { id: ID, root_id: ID, run: 1, name: 'w', queue: 'default' }
  return { ...about, kind: 'workflow', status: 'completed', ...fields }
}

function history(...events: Happening[]): Event[] {
  return events.map((event, at) => ({ position: at + 1, at: AT, ...event }) as Event)
}

function begunIn(language: string): Happening {
  return { type: 'started', payload: { language, sdk_version: '1' } }
}

const STARTED = begunIn('node')

function scheduled(name: string): Happening {
  return { type: 'activity_scheduled', sequence: 1, name, payload: { id: ID } }
}

function completed(name: string, payload: Event['payload']): Happening {
  return { type: 'activity_completed', sequence: 1, name, payload: payload ?? null }
}

const CALLED = [STARTED, scheduled('a'), completed('a', 3)]

/** Judges a workflow that doubles what its activity answers. */
async function verdictOf(
  t: TestContext,
  events: Event[],
  fields: Partial<StoredExecution> = {},
): Promise<Verdict> {
  const rig = new Rig(t)
  const a = rig.activity('a', async () => 0)
  const w = rig.workflow('w', async () => 2 * (await a.run()))
  return await check(execution(fields), events, w.definition)
}

test('a history fits the code that made it', async (t) => {
  const verdict = await verdictOf(t, history(...CALLED), { result: 6 })
  assert.deepEqual(verdict, { id: ID, run: 1, name: 'w', events: 3, verdict: 'fits', message: '' })
})

test('a history fits the code that waits where it did', async (t) => {
  const events = history(...CALLED.slice(0, 2))
  assert.equal((await verdictOf(t, events, { status: 'suspended' })).verdict, 'fits')
})

test('other commands differ and both are named', async (t) => {
  const events = history(STARTED, scheduled('b'), completed('b', 3))
  const verdict = await verdictOf(t, events, { result: 6 })
  assert.equal(verdict.verdict, 'differs')
  assert.match(verdict.message, /'b'/)
  assert.match(verdict.message, /'a'/)
})

test('another result differs', async (t) => {
  const verdict = await verdictOf(t, history(...CALLED), { result: 9 })
  assert.equal(verdict.verdict, 'differs')
  assert.match(verdict.message, /the result 9\. Today it ends with the result 6/)
})

test('results are compared as JSON', async (t) => {
  const rig = new Rig(t)
  const w = rig.workflow('w', async () => ({ b: [-0, 1], a: null }))
  const result = { a: null, b: [0, 1] }
  const verdict = await check(execution({ result }), history(STARTED), w.definition)
  assert.equal(verdict.verdict, 'fits')
})

test('what failed and ends well today differs', async (t) => {
  const error = { type: 'ValueError', message: 'no', language: 'python' }
  const verdict = await verdictOf(t, history(...CALLED), { status: 'failed', error })
  assert.equal(verdict.verdict, 'differs')
  assert.match(verdict.message, /fails with ValueError: no\. Today it ends with the result 6/)
})

test('a deadline is nothing that the code does', async (t) => {
  const error = { type: 'ExecutionTimeout', message: 'late', language: 'core' }
  const events = history(...CALLED.slice(0, 2))
  assert.equal((await verdictOf(t, events, { status: 'failed', error })).verdict, 'fits')
})

test('a result that was refused is nothing that the code does', async (t) => {
  const error = { type: 'PayloadTooLarge', message: '2 MiB', language: 'node' }
  assert.equal(
    (await verdictOf(t, history(...CALLED), { status: 'failed', error })).verdict,
    'fits',
  )
})

test('code that asks for the time raises, as it does in a worker', async (t) => {
  const w = new Rig(t).workflow('w', async () => Date.now())
  const verdict = await check(execution({ status: 'suspended' }), history(STARTED), w.definition)
  assert.equal(verdict.verdict, 'raises')
  assert.match(verdict.message, /NotDurableError: Date\.now\(\) is not durable/)
})

test('code that fails where it waited raises', async (t) => {
  const w = new Rig(t).workflow('w', async () => {
    throw new RangeError('new bug')
  })
  const verdict = await check(execution({ status: 'suspended' }), history(STARTED), w.definition)
  assert.equal(verdict.verdict, 'raises')
  assert.match(verdict.message, /RangeError/)
})

for (const status of ['pending', 'suspended'] as const) {
  test(`code without the recorded version raises where the workflow is ${status}`, async (t) => {
    const w = new Rig(t).workflow('w', async () => {
      getVersion('tax', 2, 3)
      await waitForSignal('go')
    })
    const marked: Happening = { type: 'version_marked', sequence: 1, name: 'tax', payload: 1 }
    const parked = status === 'suspended' ? { parked: 'it does not fit' } : {}
    const known = execution({ status, ...parked })
    const verdict = await check(known, history(STARTED, marked), w.definition)
    assert.equal(verdict.verdict, 'raises')
    assert.match(verdict.message, /VersionError/)
  })
}

test('a failure that has come with an event is what the code will do', async (t) => {
  const failed: Happening = { type: 'activity_failed', sequence: 1, name: 'a', payload: {} }
  const events = history(...CALLED.slice(0, 2), failed)
  assert.equal((await verdictOf(t, events, { status: 'pending' })).verdict, 'fits')
})

test('a run that went on is judged with its own arguments', async (t) => {
  const { definition } = new Rig(t).workflow('w', async (n: number) =>
    n < 3 ? await continueAsNew(n + 1) : n,
  )
  const onward = (n: number): Happening => ({
    type: 'continued',
    payload: { args: [n], kwargs: {} },
  })
  const known = execution({ args: [3], result: 3, run: 2 })
  const first = { ...known, run: 1 }
  const verdict = async (of: StoredExecution, ...events: Happening[]) =>
    (await check(of, history(STARTED, ...events), definition)).verdict
  assert.equal(await verdict(first, onward(2)), 'fits')
  assert.equal(await verdict(known), 'fits')
  assert.equal(await verdict(first, onward(3)), 'differs')
})

// --- other languages --------------------------------------------------------------------

for (const [what, first, fields] of [
  ['its start', begunIn('python'), {}],
  ['the execution', { type: 'started' } as Happening, { language: 'python' }],
] as const) {
  test(`the history of another language, by ${what}, is refused`, async (t) => {
    const events = history(first, ...CALLED.slice(1))
    await assert.rejects(verdictOf(t, events, { result: 6, ...fields }), (error: unknown) => {
      assert.ok(error instanceof WrongLanguage)
      assert.equal(error.code, 'wrong_language')
      assert.match(error.message, /begun by code in python/)
      return true
    })
  })
}

test('tests of this project compare what the languages make of a history', async (t) => {
  process.env.WORKFLOWS_TEST_OTHER_LANGUAGE = '1'
  t.after(() => delete process.env.WORKFLOWS_TEST_OTHER_LANGUAGE)
  const same = history(begunIn('python'), ...CALLED.slice(1))
  assert.equal((await verdictOf(t, same, { result: 6 })).verdict, 'fits')
  const other = history(begunIn('python'), scheduled('b'), completed('b', 3))
  const differs = await verdictOf(t, other, { result: 6 })
  assert.equal(differs.verdict, 'differs')
  assert.match(differs.message, /at position 2 history recorded: the activity 'b'/)
})

// --- the command ------------------------------------------------------------------------

function options(given: Partial<ReplayOptions>): ReplayOptions {
  const parsed = parseReplay(['-m', 'shop'])
  assert.ok(parsed)
  return { ...parsed, ...given }
}

/** Runs the command, and answers its status and what it wrote to either stream. */
async function ran(given: Partial<ReplayOptions>): Promise<[number, string, string]> {
  const { write } = process.stdout
  const errors = process.stderr.write
  const text = { out: '', error: '' }
  const keep = (stream: 'out' | 'error') =>
    ((part: string | Uint8Array) => {
      text[stream] += part
      return true
    }) as typeof write
  process.stdout.write = keep('out')
  process.stderr.write = keep('error')
  try {
    return [await runReplay(options(given)), text.out, text.error]
  } finally {
    process.stdout.write = write
    process.stderr.write = errors
  }
}

function folder(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'replay-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

test('arguments are read as in the other adapter', () => {
  const parsed = parseReplay(
    '-m shop --module cart --id 1 --file a.json b.json --id 2 --status failed --limit 3 --json'.split(
      ' ',
    ),
  )
  assert.deepEqual(parsed?.modules, ['shop', 'cart'])
  assert.deepEqual(parsed?.ids, ['1', '2'])
  assert.deepEqual(parsed?.files, ['a.json', 'b.json'])
  assert.deepEqual([parsed?.statuses, parsed?.limit, parsed?.json], [['failed'], 3, true])
  assert.equal(parseReplay(['--help']), undefined)
  for (const wrong of [
    [],
    ['-m', 'x', 'y'],
    ['-m', 'x', '--status', 'odd'],
    ['-m', 'x', '--odd'],
  ]) {
    assert.throws(() => parseReplay(wrong), CommandError)
  }
})

test('files are judged, and what is none ends with status 2', async (t) => {
  const directory = folder(t)
  const path = (name: string, told: unknown) => {
    writeFileSync(join(directory, name), JSON.stringify(told))
    return join(directory, name)
  }
  const unknown = path('unknown.json', {
    execution: execution({ name: 'nowhere' }),
    events: history(STARTED),
  })
  const [status, out] = await ran({ files: [unknown] })
  assert.equal(status, 1)
  assert.match(
    out,
    /^unknown {2}018f.* {2}nowhere, 1 event\n {9}No module that was given has a work/,
  )
  assert.match(out, /1 replayed: 0 fit, 1 of code that is not here\n$/)
  const [, json] = await ran({ files: [unknown], json: true })
  assert.equal(JSON.parse(json).histories[0].verdict, 'unknown')
  for (const told of [[], { execution: execution(), events: [{ position: 1 }] }]) {
    const [wrong, , said] = await ran({ files: [path('wrong.json', told)] })
    assert.equal(wrong, 2)
    assert.match(said, /does not hold what `workflows history ID --json` prints/)
  }
  const [missing, , said] = await ran({ files: [join(directory, 'missing.json')] })
  assert.equal(missing, 2)
  assert.match(said, /^error: .*missing\.json/)
})

test('an earlier run in a file is known to have gone on, and no more', (t) => {
  const directory = folder(t)
  const path = join(directory, 'order.json')
  writeFileSync(path, JSON.stringify({ run: 1, execution: execution({ run: 2 }), events: [] }))
  assert.deepEqual(fromFile(path).execution, { ...execution(), run: 1, status: 'continued' })
})

test('the database has what is not finished', async (t) => {
  const url = `embedded:${temporary()}`
  const client = new Client({ url })
  await client.migrate()
  t.after(async () => await client.close())
  const rig = new Rig(t)
  const a = rig.activity('reserve', async () => 1)
  const w = rig.workflow('order', async (n: number) => {
    console.log('what the code prints')
    const got = await all([a.run()])
    return n + (got[0] as number) + (await waitForSignal('go'))
  })
  const worker = await realWorker(t, client, rig)
  const [created] = await client.create([{ kind: 'workflow', name: 'order', args: [1] }])
  const id = created?.id ?? ''
  const deadline = performance.now() + 20_000
  for (let events = 0, status = ''; status !== 'suspended' || events < 3; ) {
    assert.ok(performance.now() < deadline, `${status} with ${events} events`)
    const found = await client.get(id)
    ;({ status, historyLength: events = 0 } = found)
    await pause(10)
  }
  await worker.close()

  const wanted = { ids: [], statuses: ['suspended' as const], names: ['order'], limit: 0 }
  const found: string[] = []
  for await (const { execution, events } of stored(client, wanted)) {
    found.push(execution.id)
    assert.equal((await check(execution, events, w.definition)).verdict, 'fits')
    const changed = new Rig(t)
    const charge = changed.activity('charge', async () => 1)
    const other = changed.workflow('order', async (n: number) => n + (await charge.run()))
    const differs = await check(execution, events, other.definition)
    assert.equal(differs.verdict, 'differs')
    assert.match(differs.message, /'reserve'/)
    assert.match(differs.message, /'charge'/)
  }
  assert.deepEqual(found, [id])
  assert.equal((await client.history(id)).length, 3, 'nothing was written')
})

async function realWorker(t: TestContext, client: Client, rig: Rig) {
  class Own extends Worker {
    protected override connect(): Client {
      return client
    }
  }
  const worker = await new Own({ functions: rig.registry }).start()
  t.after(async () => await worker.close())
  return worker
}
