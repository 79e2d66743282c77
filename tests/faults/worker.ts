/** A worker of the rig: `worker QUEUE...`; worker.py is its twin, which says more. */

import { randomUUID } from 'node:crypto'
import { openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  ActivityCancelled,
  ActivityError,
  activity,
  all,
  ChildCancelled,
  ChildError,
  cancelled,
  isReplaying,
  job,
  race,
  StepError,
  sleep,
  step,
  Worker,
  waitForSignal,
  workflow,
} from 'libworkflows'
import type * as Log from '../../adapters/node/src/_log'
import type * as Loop from '../../adapters/node/src/_loop'
import type * as Tries from '../../adapters/node/src/_tries'

/** What a workflow or a body is to do. */
interface Deed {
  readonly do: string
  readonly uid: string
  readonly ms?: number
  readonly fails?: number
  readonly how?: string
  readonly flows?: readonly Deed[]
  readonly block_ms?: number
  readonly lang?: 'python' | 'node'
  readonly count?: number
  readonly name?: string
  readonly deeds?: readonly Deed[]
}

// The lease of a body and the sequence of a command are told to nobody, so they are looked up.
const home = dirname(require.resolve('libworkflows'))
const { currentTry } = require(join(home, '_tries.js')) as typeof Tries
const { active, outside } = require(join(home, '_loop.js')) as typeof Loop
const { setLogLevel } = require(join(home, '_log.js')) as typeof Log

const { FAULTS_RUN = '.', FAULTS_WORKER = 'here', FAULTS_LACKS = '' } = process.env
const { FAULTS_BOOT_OFFSET_NS = '0' } = process.env
const OFFSET = BigInt(FAULTS_BOOT_OFFSET_NS)
const file = openSync(join(FAULTS_RUN, `worker-${FAULTS_WORKER}.jsonl`), 'a')
const calls = openSync(join(FAULTS_RUN, `client-of-${FAULTS_WORKER}.jsonl`), 'a')

function now(): bigint {
  return outside(() => process.hrtime.bigint()) + OFFSET // workflow code has no clock
}

function note(t: string, fields: object): void {
  const at = now()
  const line = JSON.stringify({ t, ...fields, at: '@' }).replace('"@"', String(at))
  writeSync(file, `${line}\n`)
}

// --- bodies -------------------------------------------------------------------------------

function facts(seq: number | null = null, name: string | null = null) {
  const claimed = currentTry()?.attempt.claimed
  if (claimed === undefined) throw new Error('no body runs here')
  return {
    x: claimed.id,
    seq,
    step: name,
    attempt: claimed.attempt,
    epoch: claimed.lease.epoch,
    token: claimed.lease.token,
    pid: process.pid,
    lang: 'node',
    nonce: outside(() => randomUUID()),
  }
}

type Facts = ReturnType<typeof facts>

/** What no other body answers, not even one of the same command. */
interface Answer {
  readonly uid: string
  readonly nonce: string
}

/** Does what a body is told to, between a line at its begin and one at its end. */
async function body(deed: Deed, told: Facts): Promise<Answer> {
  note('begin', told)
  let ok = false
  try {
    harm(deed)
    if (deed.how === 'starts') {
      const mark = `${told.epoch}.${told.pid}`
      await Promise.all((deed.flows ?? []).map((flow) => start(flow, mark)))
    }
    if (deed.ms) await pause(deed.ms)
    if (cancelled()) note('late', { x: told.x, code: 'interrupted' })
    if (told.attempt <= (deed.fails ?? 0)) throw new Error(deed.uid)
    ok = true
  } finally {
    note('end', { ...told, ok })
  }
  return { uid: deed.uid, nonce: told.nonce }
}

function harm(deed: Deed): void {
  if (deed.how === 'kill') process.kill(process.pid, 'SIGKILL')
  if (deed.how === 'block') {
    const until = performance.now() + (deed.block_ms ?? 0)
    while (performance.now() < until);
  }
  if (deed.how === 'huge') throw new Error('x'.repeat(10_000_000))
  if (deed.how === 'fails') throw new Error('fails')
}

/** Starts a workflow that this process runs, and journals that it was acknowledged. */
async function start(flow: Deed, mark: string): Promise<void> {
  const uid = `${flow.uid}.${mark}`
  const began = now()
  const deeds = (flow.deeds ?? []).map((each) => ({ ...each, uid: `${each.uid}.${mark}` }))
  const { id } = await nodeFlow.queue({ do: 'flow', uid, deeds })
  const call = { t: 'call', client: `of-${FAULTS_WORKER}`, op: 'start', x: id, uid, created: true }
  const line = JSON.stringify({ ...call, outcome: 'ok', from: '@from', to: '@to' })
  const timed = line.replace('"@from"', String(began)).replace('"@to"', String(now()))
  writeSync(calls, `${timed}\n`)
}

const QUICK = { initial: 0.05, max: 0.2, retries: 50 }

const runs = async (deed: Deed) => await body(deed, facts())
const faultJob = job({ name: 'fault.job', ...QUICK }, runs)
const doomedJob = job({ name: 'fault.doomed', initial: 0.05, max: 0.1, retries: 1 }, runs)
const nodeActivity = activity({ name: 'fault.node', queue: 'node', ...QUICK }, runs)
const pythonActivity = activity.external<(deed: Deed) => Answer>({
  name: 'fault.python',
  queue: 'python',
  ...QUICK,
})
const faultStep = step({ name: 'fault.step', ...QUICK }, async (deed: Deed, sequence: number) => {
  return await body(deed, facts(sequence, deed.uid))
})

// --- workflows ----------------------------------------------------------------------------

const nodeFlow = workflow({ name: 'fault.node_flow', queue: 'node' }, async (spec: Deed) => {
  const came: unknown[] = []
  for (const deed of spec.deeds ?? []) came.push(await act(deed))
  return came as any
})
const pythonFlow = workflow.external<(spec: Deed) => any>({
  name: 'fault.python_flow',
  queue: 'python',
})

/** The lease under which workflow code runs, which is told to nobody. */
function holder() {
  const claimed = active()?.claimed
  if (claimed === undefined) throw new Error('no workflow runs here')
  return { x: claimed.id, epoch: claimed.lease.epoch, token: claimed.lease.token }
}

async function take(deed: Deed): Promise<string[]> {
  const { name = '', count = 0 } = deed
  const taken: string[] = []
  while (taken.length < count) {
    const uid = await waitForSignal<string>(name)
    taken.push(uid)
    if (isReplaying()) continue
    note('took', { ...holder(), signal: name, uid, replaying: false })
  }
  return taken
}

async function first(deed: Deed): Promise<string> {
  const [call] = deed.deeds ?? []
  const told = { ...holder(), seq: active()?.history.nextSequence() ?? 0 }
  const [winner] = await race({
    sleep: () => sleep((deed.ms ?? 0) / 1000),
    call: () => act(call as Deed),
  })
  note('chose', { ...told, winner }) // on each replay anew
  return winner
}

/** Answers what comes of the next command, and journals what was seen of it: on each replay anew. */
async function outcome(run: (sequence: number) => Promise<unknown>): Promise<unknown> {
  const sequence = active()?.history.nextSequence() ?? 0
  try {
    const value = await run(sequence)
    saw(sequence, noncesOf(value), true)
    return value
  } catch (error) {
    if (isFailure(error)) saw(sequence, [], false)
    throw error
  }
}

function isFailure(error: unknown): boolean {
  if (error instanceof ActivityCancelled || error instanceof ChildCancelled) return false
  return [StepError, ActivityError, ChildError].some((each) => error instanceof each)
}

function saw(seq: number, nonces: readonly string[], ok: boolean): void {
  note('saw', { ...holder(), run: active()?.claimed.run, seq, nonces, ok })
}

/** The nonces of a body's answer, or of all that a child has seen. */
function noncesOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(noncesOf)
  const { nonce } = (value ?? {}) as Partial<Answer>
  return nonce === undefined ? [] : [nonce]
}

async function act(deed: Deed): Promise<unknown> {
  switch (deed.do) {
    case 'step':
      return await outcome((sequence) => faultStep.run(deed, sequence))
    case 'call':
      return await outcome(() => (deed.lang === 'node' ? nodeActivity : pythonActivity).run(deed))
    case 'child':
      return await outcome(() => (deed.lang === 'node' ? nodeFlow : pythonFlow).run(deed))
    case 'sleep':
      await sleep((deed.ms ?? 0) / 1000)
      return 'slept'
    case 'take':
      return await take(deed)
    case 'all':
      return await all((deed.deeds ?? []).map((each) => () => act(each)))
    case 'first':
      return await first(deed)
    default:
      throw new Error(`nobody knows how to ${deed.do}`)
  }
}

// --- the process --------------------------------------------------------------------------

setLogLevel('info')
const lacking = FAULTS_LACKS.split(' ')
const functions = [faultJob, doomedJob, nodeActivity, nodeFlow].filter(
  (each) => !lacking.includes(each.definition.functionName),
)
const queues = process.argv.slice(2)
const worker = new Worker({ queues, functions, name: FAULTS_WORKER, drainTimeout: 5 })
worker.run().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
