/** What a worker writes: gathered for one turn of the event loop, and handed in together. */

import timers, { clearTimeout, setTimeout } from 'node:timers'
import { WorkflowsError } from './_errors'
import { log } from './_log'
import { type Fault, Operation } from './_operations'
import { faultToException } from './_wire_errors'

const { setImmediate } = timers // kept, since the guards put another in its place

/** Hears what became of an item: what the operation answered, or why it was refused. */
export type Answered = (ok: any, error?: WorkflowsError) => void

/** Performs an operation. */
export type Call = (operation: Operation, request: object) => Promise<any>

interface Entry {
  readonly item: object
  readonly answered: Answered
}

// Small enough that one slow item does not hold up many, large enough to be worth a request.
const MAX_ITEMS = 100
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 2000

/**
 * Sends items of batch operations, and tells each what became of it.
 *
 * An item that cannot be written now is tried again until it is accepted or refused: the
 * engine takes a repetition of the same write for the write.
 */
export class Outbox {
  #waiting = new Map<Operation, Entry[]>()
  #before: (() => void)[] = []
  readonly #sending = new Set<Promise<void>>()
  #isClosed = false

  constructor(private readonly call: Call) {}

  /** Adds an item. `answered` is called later, from the worker's own code. */
  add(operation: Operation, item: object, answered: Answered): void {
    if (this.#isClosed) return
    this.#flushSoon()
    const entries = this.#waiting.get(operation)
    if (entries === undefined) this.#waiting.set(operation, [{ item, answered }])
    else entries.push({ item, answered })
  }

  /** Has something done just before what gathers now is handed in: what it adds goes along. */
  before(act: () => void): void {
    if (this.#isClosed) return
    this.#flushSoon()
    this.#before.push(act)
  }

  #flushSoon(): void {
    if (this.#waiting.size === 0 && this.#before.length === 0) setImmediate(() => this.#flush())
  }

  /** Waits until everything was answered, or for the timeout, in milliseconds. */
  async flushed(timeout: number): Promise<void> {
    const deadline = performance.now() + timeout
    while (this.#waiting.size > 0 || this.#before.length > 0 || this.#sending.size > 0) {
      const left = deadline - performance.now()
      if (left <= 0) return
      await settledWithin(this.#sending, left)
    }
  }

  /** Gives up on what was not answered. */
  close(): void {
    this.#isClosed = true
    this.#waiting.clear()
    this.#before = []
    this.#sending.clear()
  }

  #flush(): void {
    for (const act of this.#before) act() // one that asks for more is heard in this turn
    this.#before = []
    const waiting = this.#waiting
    this.#waiting = new Map()
    for (const [operation, entries] of waiting) {
      for (let start = 0; start < entries.length; start += MAX_ITEMS) {
        this.#spawn(operation, entries.slice(start, start + MAX_ITEMS))
      }
    }
  }

  #spawn(operation: Operation, entries: Entry[]): void {
    const sending = this.#send(operation, entries).catch((error: unknown) => {
      log.error(`${nameOf(operation)} could not be sent`, error)
    })
    this.#sending.add(sending)
    void sending.finally(() => this.#sending.delete(sending))
  }

  async #send(operation: Operation, all: Entry[]): Promise<void> {
    let pause = FIRST_PAUSE
    for (let entries = all; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        const reply = await this.call(operation, { items: entries.map((entry) => entry.item) })
        if (this.#isClosed) return
        entries = this.#answer(entries, reply.results)
      } catch (error) {
        if (this.#isClosed) return
        if (!(error instanceof WorkflowsError) || !error.retryable) {
          this.#refused(operation, entries, error)
          return
        }
        log.warn(`${nameOf(operation)} is tried again: ${error.message}`)
      }
      if (entries.length === 0) return
      await new Promise((resolve) => setTimeout(resolve, pause))
      if (this.#isClosed) return
    }
  }

  /** A whole request was refused: alone, each item gets its own answer. */
  #refused(operation: Operation, entries: Entry[], error: unknown): void {
    const known = error instanceof WorkflowsError ? error : asError(error)
    if (entries.length > 1 && known.code !== 'closed') {
      for (const entry of entries) this.#spawn(operation, [entry])
      return
    }
    for (const entry of entries) answer(entry, undefined, known)
  }

  /** Tells each item its answer, and gives back those to be tried again. */
  #answer(entries: Entry[], results: readonly { ok?: unknown; error?: Fault }[]): Entry[] {
    const again: Entry[] = []
    if (results.length !== entries.length) {
      throw new Error(`${entries.length} items have ${results.length} answers`)
    }
    entries.forEach((entry, index) => {
      const result = results[index] ?? {}
      if (result.error === undefined) answer(entry, result.ok)
      else if (result.error.retryable) again.push(entry)
      else answer(entry, undefined, faultToException(result.error))
    })
    return again
  }
}

function answer(entry: Entry, ok: unknown, error?: WorkflowsError): void {
  try {
    entry.answered(ok, error)
  } catch (failure) {
    // the others have done nothing wrong
    log.error('the answer to a write could not be taken in', failure)
  }
}

/** The request could not even be made, because it holds what is not JSON, say. */
function asError(error: unknown): WorkflowsError {
  const message = error instanceof Error ? error.message : String(error)
  return new WorkflowsError(message, { cause: error })
}

/** Waits for one of these, or for the time, in milliseconds; with none it lets others run. */
async function settledWithin(sending: Iterable<Promise<void>>, timeout: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeout)
  })
  const turn = new Promise<void>((resolve) => setImmediate(resolve))
  const some = [...sending]
  await Promise.race(some.length > 0 ? [...some, late] : [turn])
  if (timer !== undefined) clearTimeout(timer)
}

function nameOf(operation: Operation): string {
  const found = Object.entries(Operation).find(([, number]) => number === operation)
  return (found?.[0] ?? String(operation)).toLowerCase()
}
