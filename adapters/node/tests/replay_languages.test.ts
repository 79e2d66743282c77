/** `workflows replay` of both languages, on the same histories. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PYTHON, temporary } from './stage'

const AT = '2026-01-01T00:00:00+00:00'
const ID = '018f0000-0000-7000-8000-000000000001'
const SOURCE = join(__dirname, '..', 'src')

const IN_PYTHON = `
from workflows import activity, gather, sleep, step, wait_for_signal, workflow

@activity(name="reserve")
async def reserve(n): ...

@activity(name="charge")
async def charge(n): ...

@step(name="note")
async def note(n): ...

@workflow(name="order")
async def order(n):
    print("what the code prints")
    first, second = await gather(reserve.run(n), charge.run(n))
    await sleep(60)
    await note.run(n)
    return {"sum": [first, second], "said": await wait_for_signal("go")}
`

const IN_NODE = `
const { activity, all, sleep, step, waitForSignal, workflow } = require(${JSON.stringify(SOURCE)})
const reserve = activity('reserve', async () => {})
const charge = activity('charge', async () => {})
const note = step('note', async () => {})
workflow('order', async (n) => {
  console.log('what the code prints')
  const [first, second] = await all([reserve.run(n), charge.run(n)])
  await sleep(60)
  await note.run(n)
  return { sum: [first, second], said: await waitForSignal('go') }
})
`

const directory = temporary()
writeFileSync(join(directory, 'shop.py'), IN_PYTHON)
writeFileSync(join(directory, 'shop.cjs'), IN_NODE)

type Happening = { type: string; sequence?: number; name?: string; payload?: unknown }

const LIVED: Happening[] = [
  { type: 'started', payload: { language: 'python', runtime: '3.11', sdk_version: '1' } },
  { type: 'activity_scheduled', sequence: 1, name: 'reserve', payload: { id: ID } },
  { type: 'activity_scheduled', sequence: 2, name: 'charge', payload: { id: ID } },
  { type: 'activity_completed', sequence: 2, name: 'charge', payload: 2 },
  { type: 'activity_completed', sequence: 1, name: 'reserve', payload: 1 },
  { type: 'timer_started', sequence: 3, name: 'sleep', payload: { delay_ms: 60_000 } },
  { type: 'timer_fired', sequence: 3 },
  { type: 'step_completed', sequence: 4, name: 'note', payload: null },
  { type: 'signal_received', name: 'go', payload: 'é' },
]

function changed(at: number, change: Partial<Happening>): Happening[] {
  return LIVED.map((event, index) => (index === at ? { ...event, ...change } : event))
}

const ENDS = { status: 'completed', result: { sum: [1, 2], said: 'é' } }
const OPEN = { status: 'suspended' }

const HISTORIES: Record<string, { fields: object; events: Happening[]; verdict: string }> = {
  'the same to its end': { fields: ENDS, events: LIVED, verdict: 'fits' },
  'the same as far as it got': { fields: OPEN, events: LIVED.slice(0, 6), verdict: 'fits' },
  'an activity of another name': {
    fields: ENDS,
    events: changed(2, { name: 'bill' }),
    verdict: 'differs',
  },
  'a timer of another name': {
    fields: ENDS,
    events: changed(5, { name: 'rest' }),
    verdict: 'differs',
  },
  'a step of another name': {
    fields: OPEN,
    events: changed(7, { name: 'jot' }),
    verdict: 'differs',
  },
  'a child where a timer is': {
    fields: OPEN,
    events: changed(5, { type: 'child_started', name: 'sleep', payload: { id: ID } }),
    verdict: 'differs',
  },
  'a command more than the code asks for': {
    fields: OPEN,
    events: [
      ...LIVED.slice(0, 3),
      { type: 'activity_scheduled', sequence: 3, name: 'ship', payload: { id: ID } },
    ],
    verdict: 'differs',
  },
  'another result': {
    fields: { status: 'completed', result: { sum: [3], said: null } },
    events: LIVED,
    verdict: 'differs',
  },
  'a failure': {
    fields: { status: 'failed', error: { type: 'KeyError', message: "'x'", language: 'python' } },
    events: LIVED,
    verdict: 'differs',
  },
}

interface Judged {
  readonly verdict: string
  readonly message: string
}

function written(name: string): string {
  const about = { id: ID, root_id: ID, run: 1, name: 'order', queue: 'default', kind: 'workflow' }
  const { fields, events } = HISTORIES[name] as (typeof HISTORIES)[string]
  const path = join(directory, `${name.replaceAll(' ', '_')}.json`)
  const execution = { ...about, args: [1], kwargs: {}, ...fields }
  const numbered = events.map((event, at) => ({ position: at + 1, at: AT, ...event }))
  writeFileSync(path, JSON.stringify({ execution, events: numbered }))
  return path
}

const CLI = [process.execPath, '--import', require.resolve('tsx'), join(SOURCE, '_cli.ts')]

function ran(command: readonly string[], args: readonly string[], other = '1') {
  const [program = '', ...before] = command
  const env = { ...process.env, WORKFLOWS_TEST_OTHER_LANGUAGE: other }
  const options = { cwd: directory, env, encoding: 'utf8', timeout: 60_000 } as const
  return spawnSync(program, [...before, 'replay', ...args], options)
}

function judged(command: readonly string[], module: string): Judged[] {
  const files = Object.keys(HISTORIES).map(written)
  const { stdout, stderr, status } = ran(command, ['-m', module, '--json', '--file', ...files])
  assert.equal(status, 1, stderr)
  return JSON.parse(stdout).histories
}

/** What a message says, without where the code stands and how each language calls things. */
function essence({ verdict, message }: Judged): string {
  const lines = message
    .split('\n')
    .filter((line) => !/get_version|getVersion|to try|then:/i.test(line))
  return [verdict, ...lines.map((line) => line.replace(/ at \S*shop\.\w+:\d+/, ''))].join('\n')
}

const skip = PYTHON === undefined && 'no Python with the adapter: set WORKFLOWS_TEST_PYTHON'

test('both say the same of a history, position by position', { skip }, () => {
  const node = judged(CLI, './shop.cjs')
  const python = judged([PYTHON ?? '', '-m', 'workflows'], 'shop')
  for (const [at, [name, { verdict }]] of Object.entries(HISTORIES).entries()) {
    assert.equal(node[at]?.verdict, verdict, `${name}: ${node[at]?.message}`)
    assert.equal(essence(node[at] as Judged), essence(python[at] as Judged), name)
  }
})

test('without the switch of tests, a history of Python is refused, and status 2 answered', () => {
  const file = written('the same to its end')
  const { status, stdout, stderr } = ran(CLI, ['-m', './shop.cjs', '--file', file], '')
  assert.deepEqual([status, stdout], [2, ''], stderr)
  assert.match(stderr, /error: workflow 018f.* was begun by code in python/)
})

test('a history of its own is judged, and what the code prints is no verdict', () => {
  const file = written('the same to its end')
  writeFileSync(file, readFileSync(file, 'utf8').replace('"python"', '"node"'))
  const { status, stdout, stderr } = ran(CLI, ['-m', './shop.cjs', '--file', file], '')
  assert.equal(status, 0, stderr)
  assert.equal(stderr, 'what the code prints\n')
  assert.equal(stdout, `fits     ${ID}  order, 9 events\n1 replayed: 1 fit\n`)
})

test('a command that is wrong, or a module that is not there, ends with status 2', () => {
  for (const args of [[], ['-m', './nowhere.cjs'], ['-m', './shop.cjs', '--odd']]) {
    const { status, stdout, stderr } = ran(CLI, args)
    assert.deepEqual([status, stdout], [2, ''], stderr)
    assert.match(stderr, /error: /)
  }
  assert.equal(ran(CLI, ['--help']).status, 0)
})
