/** The durable functions in TypeScript; program_functions.py is their twin, which says more. */

import {
  all,
  allSettled,
  asCompleted,
  CancelledError,
  continueAsNew,
  type Fn,
  getVersion,
  now,
  race,
  random,
  SignalTimeout,
  sendSignal,
  setState,
  shield,
  sleep,
  TimeoutError,
  timeout,
  uuid4,
  type WorkflowOptions,
  wait,
  waitForSignal,
  workflow,
  workflowInfo,
} from 'libworkflows'
import { call, ENDLESS, inLoop, type Node, ProgramError } from './program_bodies'
import { isRead, note } from './program_journal'

/** Named and worded as Python's, so that one model does for both. */
class ExceptionGroup extends AggregateError {
  constructor(errors: readonly unknown[]) {
    const many = `${errors.length} sub-exception${errors.length === 1 ? '' : 's'}`
    super(errors, `unhandled errors in a TaskGroup (${many})`)
  }
}

// --- the interpreter ----------------------------------------------------------------------

/** Runs a program and answers the value of its root. */
export const program: Fn<[node: Node], any, WorkflowOptions> = workflow(
  'program',
  async (node: Node): Promise<any> => await run(node),
)

function run(node: Node): Promise<any> {
  const part = RUN[node.do]
  if (part === undefined) throw new Error(`nobody knows how to ${node.do}`)
  return part(node)
}

/** Answers a part as a branch; a bare promise of the SDK where it is one, and may be bare. */
function branch(node: Node, bare: boolean): Promise<any> | (() => Promise<any>) {
  const isCall = node.do === 'activity' || node.do === 'step'
  return bare && isCall ? call(node) : () => run(node)
}

/** Starts a part; whoever gives it to a branch of the SDK cancels it with that. */
function start(node: Node, bare: boolean): Promise<any> {
  const part = branch(node, bare)
  return typeof part === 'function' ? part() : part
}

/** Answers what is compared of an error. */
export function describe(error: unknown): any[] {
  if (error instanceof AggregateError) {
    return [error.constructor.name, error.errors.map(describe)]
  }
  const { name, message, type, attempts } = known(error)
  const told = type === undefined ? message : message === '' ? type : `${type}: ${message}`
  const found = [name, told]
  return attempts === undefined ? found : [...found, attempts]
}

function known(error: unknown): Record<string, any> {
  const { constructor: made, message, type, attempts } = error as Record<string, any>
  return { name: made.name, message, type, attempts }
}

type End = PromiseSettledResult<any>

function isFailed(end: End): boolean {
  return end.status === 'rejected' && !(end.reason instanceof CancelledError)
}

function ended(end: End): any[] {
  if (end.status === 'fulfilled') return ['ok', end.value]
  return isFailed(end) ? ['failed', describe(end.reason)] : ['stopped']
}

// --- leaves ---

async function doSleep(node: Node): Promise<string> {
  await sleep(node.ms / 1000)
  return `sleep ${node.n}`
}

async function doState(node: Node): Promise<string> {
  setState({ at: node.n })
  return `state ${node.n}`
}

async function doVersion(node: Node): Promise<number> {
  return getVersion(node.change, 1, 3)
}

async function doChance(): Promise<string[]> {
  return [uuid4(), String(random()), now().toISOString().replace('Z', '+00:00')]
}

async function doTurn(node: Node): Promise<string> {
  await null
  return `turn ${node.n}`
}

async function doRaise(node: Node): Promise<never> {
  throw new ProgramError(`raise ${node.n}`)
}

async function doNever(node: Node): Promise<void> {
  const { n, what, lang } = node
  if (what === 'signal') await waitForSignal(`never ${n}`)
  else if (what === 'sleep') await sleep(ENDLESS)
  else if (what === 'child') {
    await program.options({ queue: lang }).run({ do: 'never', n, what: 'signal' })
  } else await call({ do: what, n, how: 'endless', lang })
}

/** Waits for signals, beside whoever sends them. */
async function doSignal(node: Node): Promise<any[]> {
  const { n, count, by, lang } = node
  const to = workflowInfo().id
  if (by === 'harness' && isRead) note('waits', String(n), { id: to, count })
  const sender = senderOf({ do: by, n, to, count, lang })
  if (sender === undefined) return await heard(node)
  const [found] = await all([() => heard(node), sender])
  return found as any[]
}

function senderOf(node: Node): Promise<any> | (() => Promise<any>) | undefined {
  const { n, to, count, lang } = node
  switch (node.do) {
    case 'activity': {
      const sending = { do: 'activity', n, how: 'sends', to, signal: n, count }
      return inLoop.options({ queue: lang, retries: 20 }).run(sending)
    }
    case 'child':
      return program.options({ queue: lang }).run({ do: 'send', n, to, count })
    case 'self':
      return () => doSend(node)
    default:
      return undefined
  }
}

async function doSend(node: Node): Promise<string> {
  for (let index = 0; index < node.count; index++) {
    await sendSignal(node.to, `signal ${node.n}`, `${node.n}.${index}`)
  }
  return `send ${node.n}`
}

async function heard(node: Node): Promise<any[]> {
  const limit = node.timeout_ms === null ? undefined : node.timeout_ms / 1000
  const next = () => waitForSignal(`signal ${node.n}`, { timeout: limit })
  const calls = node.together ? Array.from({ length: node.count }, next) : []
  const found: any[] = []
  for (let index = 0; index < node.count; index++) {
    try {
      found.push(await (calls[index] ?? next()))
    } catch (error) {
      if (!(error instanceof SignalTimeout)) throw error
      found.push('late')
    }
  }
  return found
}

// --- branches ---

async function doSeq(node: Node): Promise<any[]> {
  const values: any[] = []
  for (const part of node.parts) values.push(await run(part))
  return values
}

function branches(node: Node): (Promise<any> | (() => Promise<any>))[] {
  return node.parts.map((part: Node) => branch(part, node.bare))
}

async function doGather(node: Node): Promise<any[]> {
  if (!node.all) return await all(branches(node))
  return (await allSettled(branches(node))).map(ended)
}

/** Something that code of a workflow waits for and other code of it brings about. */
class Gate {
  open!: () => void
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve
  })
}

/**
 * What a TaskGroup does, of which JavaScript has none: a race that a failure ends.
 *
 * A branch that ended well waits at the gate for the others, so that only the last of them, or
 * one that failed, lets the race cancel what is left.
 */
async function doGroup(node: Node): Promise<any[]> {
  const parts: Node[] = node.parts
  const [values, errors, gate] = [[] as any[], [] as unknown[], new Gate()]
  const running: Promise<void>[] = []
  let left = parts.length
  const member = async (part: Node, index: number) => {
    try {
      values[index] = await start(part, node.bare)
      left -= 1
      if (left > 0) await gate.opened
    } catch (error) {
      if (error instanceof CancelledError) throw error
      errors.push(error)
    } finally {
      gate.open()
    }
  }
  try {
    await race(
      named(
        parts.map((part, index) => () => {
          running[index] = member(part, index)
          return running[index]
        }),
      ),
    )
  } catch (error) {
    if (errors.length === 0) throw error
  }
  await Promise.allSettled(running) // for ever, if nobody was cancelled
  if (errors.length > 0) throw new ExceptionGroup(errors)
  return values
}

function named<B>(given: readonly B[]): Record<string, B> {
  return Object.fromEntries(given.map((each, index) => [`p${index}`, each]))
}

async function doRace(node: Node): Promise<any[]> {
  return await race(named(branches(node)))
}

async function doTimeout(node: Node): Promise<any> {
  const seconds = node.ms / 1000
  try {
    return await timeout(seconds, () => run(node.body))
  } catch (error) {
    throw asInPython(error, `it did not end within ${seconds} s`)
  }
}

/** Python's says nothing. Whatever is said here but the one thing is told as it is. */
function asInPython(error: unknown, said: string): unknown {
  const { name, message } = known(error)
  return name === TimeoutError.name && message === said ? new TimeoutError('') : error
}

async function doEach(node: Node): Promise<any[]> {
  const ends: any[] = []
  for await (const each of asCompleted(branches(node))) ends.push([each.index, ended(each)])
  return ends
}

const UNTIL: Record<string, 'FIRST_COMPLETED' | 'FIRST_EXCEPTION' | 'ALL_COMPLETED'> = {
  first: 'FIRST_COMPLETED',
  failure: 'FIRST_EXCEPTION',
  all: 'ALL_COMPLETED',
}

/** Promises cannot be cancelled here, a branch can: it is the loser of a race with the wait. */
async function doWait(node: Node): Promise<any[]> {
  const timeoutAfter = node.timeout_ms === null ? undefined : node.timeout_ms / 1000
  const options = { timeout: timeoutAfter, returnWhen: UNTIL[node.until] as 'ALL_COMPLETED' }
  const gate = new Gate()
  let promises: Promise<any>[] = []
  let ends: any[] = []
  const parts = async () => {
    promises = node.parts.map((part: Node) => start(part, node.bare))
    await gate.opened
    await Promise.allSettled(promises)
  }
  const waited = async () => {
    try {
      const [done] = await wait(promises, options)
      const found = await Promise.allSettled(done)
      ends = found.map((each, at) => [promises.indexOf(done[at] as Promise<any>), ended(each)])
    } finally {
      gate.open()
    }
  }
  await race({ parts, waited })
  await Promise.allSettled(promises) // for ever, if those that are late were not cancelled
  return ends
}

async function doTry(node: Node): Promise<any> {
  try {
    try {
      return ['done', await run(node.body)]
    } catch (error) {
      const stopped = error instanceof CancelledError
      if (![stopped ? 'cancel' : 'error', 'all'].includes(node.catch)) throw error
      const handled = await run(node.handler)
      if (node.again) throw error
      return ['caught', stopped ? 'stopped' : describe(error), handled]
    }
  } finally {
    if (node.last !== null) await run(node.last)
  }
}

async function doShield(node: Node): Promise<any> {
  return await shield(branch(node.body, node.bare))
}

/** Cancels a branch when another part has ended: the loser of a race, which that part wins. */
async function doCancel(node: Node): Promise<any[]> {
  const gate = new Gate()
  const ends: { before?: End; branch?: Promise<End> } = {}
  await race({
    body: async () => {
      ends.branch = endOf(start(node.body, node.bare))
      await ends.branch
      await gate.opened
    },
    meanwhile: async () => {
      ends.before = await endOf(run(node.meanwhile))
      gate.open()
    },
  })
  const before = answerOf(ends.before)
  const end = await ends.branch // for ever, if it was not cancelled
  return [before, end && !isFailed(end) ? ended(end) : answerOf(end)]
}

async function endOf(promise: Promise<any>): Promise<End> {
  const [end] = await Promise.allSettled([promise])
  return end
}

function answerOf(end: End | undefined): any {
  if (end?.status === 'rejected') throw end.reason
  return end?.value
}

async function doChild(node: Node): Promise<any> {
  const { how, body } = node
  const there = program.options({ queue: node.lang })
  if (how === 'run') return await there.run(body)
  if (how === 'expire') return await there.options({ timeout: 0.3 }).run(body)
  if (how === 'detach') {
    await there.options({ closePolicy: 'detach' }).queue(body)
    return `child ${node.n}`
  }
  const handle = await there.queue(body)
  const before = await run(node.meanwhile)
  if (how === 'queue') return [before, await handle.result()]
  await handle.cancel()
  return [before, ended(await endOf(handle.result()))]
}

async function doAgain(node: Node): Promise<never> {
  await run(node.body)
  return await continueAsNew(node.next)
}

const RUN: Record<string, (node: Node) => Promise<any>> = {
  activity: call,
  step: call,
  sleep: doSleep,
  signal: doSignal,
  send: doSend,
  state: doState,
  version: doVersion,
  chance: doChance,
  turn: doTurn,
  raise: doRaise,
  never: doNever,
  seq: doSeq,
  gather: doGather,
  group: doGroup,
  race: doRace,
  timeout: doTimeout,
  each: doEach,
  wait: doWait,
  try: doTry,
  shield: doShield,
  cancel: doCancel,
  child: doChild,
  again: doAgain,
}
