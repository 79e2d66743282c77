/** What waits, in words: for whoever has to find out why a test does not go on. */

import type { DurableFunction } from '../_functions'
import type { MemoryEngine } from './_engine'
import { replayed } from './_proof'
import type { Row } from './_rows'

/** Answers the function that an execution runs. */
export type Find = (kind: string, name: string) => DurableFunction | undefined

const MOST = 20

/** Says what executions wait for. */
export class Waits {
  readonly #engine: MemoryEngine
  readonly #find: Find
  readonly #signals = new Map<string, Promise<string[]>>()

  constructor(engine: MemoryEngine, find: Find) {
    this.#engine = engine
    this.#find = find
  }

  /** Answers the names of the signals that a workflow's code waits for now. */
  signals(row: Row): Promise<string[]> {
    const key = `${row.id} ${row.run} ${row.events.length} ${row.status}`
    const found = this.#signals.get(key) ?? this.#replayed(row)
    this.#signals.set(key, found)
    return found
  }

  async #replayed(row: Row): Promise<string[]> {
    const fn = this.#find('workflow', row.name)
    const claimed = row.claims.get(row.run)
    if (fn === undefined || claimed === undefined || !row.isOpen) return []
    return await replayed(claimed, fn, row.events, (replay) => replay.signals.names)
  }

  /** Answers a head and, below it, what these executions and their children wait for. */
  async report(rows: Iterable<Row>, head: string): Promise<string> {
    let lines: string[] = []
    for (const row of rows) lines.push(...(await this.#tell(row, 1)))
    if (lines.length > MOST) {
      lines = [...lines.slice(0, MOST), `  ... and ${lines.length - MOST} lines more`]
    }
    const { clock } = this.#engine
    const at = clock.at().slice(0, 19).replace('T', ' ')
    return [`${head}, at ${at} (${lasting(clock.seconds)} after the start):`, ...lines].join('\n')
  }

  async #tell(row: Row, depth: number): Promise<string[]> {
    const indent = '  '.repeat(depth)
    const lines = [`${indent}${row.kind} '${row.name}' (${row.id}) ${state(row)}`]
    if (row.isWorkflow && row.status === 'suspended' && row.parked === undefined) {
      for (const name of await this.signals(row)) {
        lines.push(`${indent}  for the signal '${name}', which nobody sends`)
      }
    }
    for (const child of row.children) {
      if (child.isOpen && child.parentRun === row.run) {
        lines.push(...(await this.#tell(child, depth + 1)))
      }
    }
    return lines
  }
}

function state(row: Row): string {
  if (row.parked !== undefined) return `is parked: ${row.parked}`
  if (row.status === 'suspended') return 'waits'
  if (row.status === 'running') return 'runs, and its code awaits something that does not come'
  if (row.status === 'pending') {
    return `waits for a worker on queue '${row.queue}', which this environment does not serve`
  }
  return `is ${row.status}`
}

/** Answers a duration in words, such as "2 days, 1:00:00". */
export function lasting(seconds: number): string {
  const days = Math.floor(seconds / 86400)
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0')
  const rest = seconds - days * 86400
  const time = `${Math.floor(rest / 3600)}:${two((rest % 3600) / 60)}:${two(rest % 60)}`
  return days === 0 ? time : `${days} ${days === 1 ? 'day' : 'days'}, ${time}`
}
