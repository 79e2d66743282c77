/**
 * `workflows replay`: today's code on the histories of before, without running anything.
 *
 * For CI: a change of a workflow's code that live workflows could not go on with is found
 * before it is deployed.
 */

import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { Turn } from './_calls'
import { Client } from './_client'
import { WrongLanguage } from './_errors'
import type { DurableFunction } from './_functions'
import { installGuards } from './_guards'
import {
  type Claimed,
  type Event,
  type Execution,
  getExecution,
  getHistory,
  listExecutions,
  type Status,
} from './_operations'
import { adapt, loadReply } from './_payload'
import { registry } from './_registry'
import { Replay } from './_replay'
import { CommandError, OPEN, type ReplayOptions } from './_replay_options'

export { CommandError, HELP, parseReplay, type ReplayOptions } from './_replay_options'

const LANGUAGE = 'node'
const PAGE = 100
// What a worker fails a workflow with whose commands or result the engine did not take.
const REFUSED = ['HistoryTooLong', 'InvalidPayload', 'InvalidRequest', 'PayloadTooLarge']
// What code fails with that is not made for this history; the rest can have come with an event.
const UNFIT = ['NotDurableError', 'VersionError']
const TELLS = 'does not hold what `workflows history ID --json` prints'

/** What became of one history. */
export interface Verdict {
  /** Of the workflow. */
  readonly id: string
  /** Which go of it. */
  readonly run: number
  /** Of its function. */
  readonly name: string
  /** How many the history has. */
  readonly events: number
  /**
   * "differs": the code asks for something else than history recorded, or ends otherwise;
   * "raises": the code fails where a worker had it wait; "unknown": no module that was given
   * has the function.
   */
  readonly verdict: 'fits' | 'differs' | 'raises' | 'unknown'
  /** What does not fit. */
  readonly message: string
}

/** An execution with the events of one of its runs. */
export interface Stored {
  readonly execution: StoredExecution
  readonly events: readonly Event[]
}

/** What is needed of an execution: as the library answers it, or a file of its history. */
export type StoredExecution = Omit<Partial<Execution>, 'status'> & {
  readonly id: string
  readonly run: number
  readonly name: string
  /** Of an earlier run nothing is known but that it has gone on: "continued". */
  readonly status: Status | 'continued'
}

/**
 * Replays one history.
 *
 * @param execution As the library answers it, or the start of `workflows history ID --json`.
 * @param events All events of the run, in order of position.
 * @param fn The workflow's code of today.
 * @throws {WrongLanguage} Code of another language wrote the history.
 */
export async function check(
  execution: StoredExecution,
  events: readonly Event[],
  fn: DurableFunction,
): Promise<Verdict> {
  refuseOtherLanguage(execution, events)
  installGuards() // code that asks for the time fails in a worker, and does not fit here
  // One that waits has been seen by code to its end.
  const waits = execution.status === 'suspended' && !execution.parked
  const seen = waits && { seen: events.length }
  const claimed = { ...execution, ...argumentsOf(execution, events), ...seen }
  const replay = new Replay(claimed as unknown as Claimed, fn)
  const { id, run, name } = execution
  const about = { id, run, name, events: events.length }
  try {
    await replay.feed(events)
    const turn = replay.turn()
    if (turn.then === 'park') return { ...about, verdict: 'differs', message: turn.message }
    const message = otherEnd(execution, events, turn)
    if (message === '') return { ...about, verdict: 'fits', message }
    const isOpen = OPEN.includes(execution.status as Status)
    const ends = ['complete', 'fail', 'continue'].includes(turn.then) ? 'ends' : 'waits'
    return {
      ...about,
      verdict: turn.then === 'fail' && isOpen ? 'raises' : 'differs',
      message: `${message}\nThe code ${ends} after position ${replay.position}.`,
    }
  } finally {
    replay.discard()
  }
}

/** Whether code of this language may go on with a history; undefined if nobody knows whose it is. */
function languageOf(execution: StoredExecution, events: readonly Event[]): string | undefined {
  const [first] = events
  const payload = first?.type === 'started' ? first.payload : undefined
  const started = (payload ?? {}) as { readonly language?: unknown }
  return (typeof started.language === 'string' && started.language) || execution.language
}

function isOther(execution: StoredExecution, events: readonly Event[]): boolean {
  // For this project's own tests, which compare what both languages make of one history.
  if (process.env.WORKFLOWS_TEST_OTHER_LANGUAGE === '1') return false
  const language = languageOf(execution, events)
  return language !== undefined && language !== LANGUAGE
}

function refuseOtherLanguage(execution: StoredExecution, events: readonly Event[]): void {
  if (!isOther(execution, events)) return
  const language = languageOf(execution, events)
  throw new WrongLanguage(
    `workflow ${execution.id} was begun by code in ${language}, and only such code can go on ` +
      `with it; this is ${LANGUAGE}`,
    { details: { id: execution.id, language } },
  )
}

/** Answers a run's arguments: those of one that has gone on are in its last event. */
export function argumentsOf(
  execution: StoredExecution,
  events: readonly Event[],
): { args: unknown; kwargs: unknown } {
  const last = events.at(-1)
  const told = (last?.type === 'continued' ? last.payload : execution) as {
    readonly args?: unknown
    readonly kwargs?: unknown
  }
  return { args: told.args ?? [], kwargs: told.kwargs ?? {} }
}

/** Says how the code's end differs from the one that was recorded; '' if it does not. */
function otherEnd(was: StoredExecution, events: readonly Event[], turn: Turn): string {
  const today = said(turn.then, turn.result, turn.error)
  if (events.at(-1)?.type === 'continued') {
    return turn.then === 'continue' ? '' : `It went on as a new run. Today it ${today}.`
  }
  if (
    was.status === 'completed' &&
    !(turn.then === 'complete' && isSame(turn.result, was.result))
  ) {
    return `In its time it ${said('complete', was.result)}. Today it ${today}.`
  }
  if (was.status === 'failed' && failedItself(was) && turn.then !== 'fail') {
    return `In its time it ${said('fail', undefined, was.error)}. Today it ${today}.`
  }
  if (was.status === 'suspended' && turn.then === 'fail' && !was.parked) {
    return `It waits, in the code that ran last. Today it ${today}.`
  }
  if (OPEN.includes(was.status as Status) && UNFIT.includes(turn.error?.type ?? '')) {
    return `It has not ended. Today it ${today}.`
  }
  return ''
}

/** Whether two results are the same on the wire, where -0 is 0. */
function isSame(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(onWire(one), onWire(adapt(other, 'result')))
}

function onWire(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null))
}

/** Whether the code failed; a deadline or a refused result is nothing that it does. */
function failedItself(was: StoredExecution): boolean {
  const error = errorOf(was.error)
  return error.language !== 'core' && !REFUSED.includes(error.type ?? '')
}

function said(then: string, result: unknown, error?: unknown): string {
  if (then === 'complete') return `ends with the result ${short(written(result ?? null))}`
  if (then === 'fail' && error !== undefined) {
    return `fails with ${errorOf(error).type}: ${short(String(errorOf(error).message))}`
  }
  return then === 'continue' ? 'goes on as a new run' : then === 'fail' ? 'fails' : 'waits'
}

interface ToldError {
  readonly type?: string
  readonly message?: string
  readonly language?: string
}

function errorOf(error: unknown): ToldError {
  return (error ?? {}) as ToldError
}

/** Writes JSON with the spaces that Python puts in, so that both say the same. */
function written(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(written).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(
    ([key, each]) => `${JSON.stringify(key)}: ${written(each)}`,
  )
  return `{${members.join(', ')}}`
}

function short(text: string): string {
  const characters = [...text]
  return characters.length <= 200 ? text : `${characters.slice(0, 200).join('')}...`
}

// --- where histories come from ----------------------------------------------------------

/**
 * Reads histories from the database, one at a time: those named, or those of a state.
 *
 * What code of another language has begun is passed over, as workers do, unless it is named.
 */
export async function* stored(
  client: Client,
  { ids, statuses, names, limit }: Pick<ReplayOptions, 'ids' | 'statuses' | 'names' | 'limit'>,
): AsyncGenerator<Stored> {
  if (ids.length > 0) {
    for (const id of ids) yield await read(client, id)
    return
  }
  let found = 0
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const request = { kind: 'workflow', status: statuses, limit: PAGE, cursor } as const
    const page = await listExecutions(client.engine, request)
    for (const { id, name, history_length } of page.executions) {
      if (!names.includes(name) || !history_length) continue
      const each = await read(client, id)
      if (isOther(each.execution, each.events)) continue
      yield each
      found += 1
      if (found === limit) return
    }
    cursor = page.cursor || undefined
  }
}

async function read(client: Client, id: string): Promise<Stored> {
  const execution = await getExecution(client.engine, { id })
  const events: Event[] = []
  for (let after = 0; ; after = events.at(-1)?.position ?? after) {
    const reply = await getHistory(client.engine, { id, run: execution.run, after })
    events.push(...reply.events)
    if (!reply.more || reply.events.length === 0) return { execution, events }
  }
}

/**
 * Reads what `workflows history ID --json` printed.
 *
 * @throws {Error} It is something else.
 */
export function fromFile(path: string): Stored {
  const text = readFileSync(path, 'utf8')
  try {
    const { execution, events, run = execution.run } = loadReply(text)
    if (!Array.isArray(events) || !events.every(isEvent)) {
      throw new TypeError('an event has no position, type or time')
    }
    if (typeof execution.id !== 'string') throw new TypeError('the execution has no id')
    if (run === execution.run) return { execution, events }
    // what it came to says nothing of an earlier run
    return { execution: { ...execution, run, status: 'continued' }, events }
  } catch (error) {
    throw new CommandError(`${path} ${TELLS}: ${error}`)
  }
}

function isEvent(event: unknown): boolean {
  return (
    typeof event === 'object' &&
    event !== null &&
    'position' in event &&
    'type' in event &&
    'at' in event
  )
}

// --- the command ------------------------------------------------------------------------

/** Replays what the options say, and answers the status to exit with. */
export async function runReplay(options: ReplayOptions): Promise<number> {
  let verdicts: Verdict[]
  try {
    verdicts = await verdictsOf(options)
  } catch (error) {
    if (!isWrongCommand(error)) throw error
    process.stderr.write(`error: ${error.message}\n`)
    return 2
  }
  if (options.json) print(written({ histories: verdicts }))
  else summarise(verdicts)
  return verdicts.every(({ verdict }) => verdict === 'fits') ? 0 : 1
}

function isWrongCommand(error: unknown): error is Error {
  if (error instanceof CommandError || error instanceof WrongLanguage) return true
  return error instanceof Error && 'syscall' in error // a file that is not there
}

async function verdictsOf(options: ReplayOptions): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for await (const { execution, events } of histories(options)) {
    const verdict = await judged(execution, events)
    verdicts.push(verdict)
    if (!options.json) show(verdict)
  }
  return verdicts
}

async function* histories(options: ReplayOptions): AsyncGenerator<Stored> {
  for (const path of options.files) yield fromFile(path)
  if (options.ids.length === 0 && options.files.length > 0) return
  const names = options.names.length > 0 ? options.names : (registry.names().workflow ?? [])
  // Without migrating: nothing is written, to a private database neither.
  const client = new Client({
    ...(options.databaseUrl !== undefined && { url: options.databaseUrl }),
    ...(options.schema !== undefined && { schema: options.schema }),
    migrate: false,
  })
  try {
    yield* stored(client, { ...options, names })
  } finally {
    await client.close()
  }
}

async function judged(execution: StoredExecution, events: readonly Event[]): Promise<Verdict> {
  const { id, run, name } = execution
  const fn = registry.find('workflow', name)
  if (fn !== undefined) return await withOutputOnStderr(() => check(execution, events, fn))
  const message = `No module that was given has a workflow named '${name}'.`
  return { id, run, name, events: events.length, verdict: 'unknown', message }
}

/** Keeps what workflow code prints out of the verdicts. */
async function withOutputOnStderr<T>(act: () => Promise<T>): Promise<T> {
  const { write } = process.stdout
  process.stdout.write = process.stderr.write.bind(process.stderr)
  try {
    return await act()
  } finally {
    process.stdout.write = write
  }
}

function show({ id, run, name, events, verdict, message }: Verdict): void {
  const which = run > 1 ? ` run ${run}` : ''
  print(`${verdict.padEnd(8)} ${id}${which}  ${name}, ${events} event${events === 1 ? '' : 's'}`)
  if (message === '') return
  for (const line of message.split('\n')) print(`         ${line}`.trimEnd())
}

const VERBS = { differs: 'differ', raises: 'raise', unknown: 'of code that is not here' } as const

function summarise(verdicts: readonly Verdict[]): void {
  if (verdicts.length === 0) {
    print('no history to replay: no workflow of these modules is unfinished')
    return
  }
  const count = (wanted: string) => verdicts.filter(({ verdict }) => verdict === wanted).length
  const rest = Object.entries(VERBS)
    .filter(([verdict]) => count(verdict) > 0)
    .map(([verdict, verb]) => `, ${count(verdict)} ${verb}`)
  print(`${verdicts.length} replayed: ${count('fits')} fit${rest.join('')}`)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
