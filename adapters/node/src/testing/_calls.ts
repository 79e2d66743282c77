/** What was called: bodies as they ran, workflows as their executions tell. */

import { CancelledError } from '../_errors'
import type { DurableFunction } from '../_functions'
import type { Kind } from '../_options'
import { adapt } from '../_payload'
import { errorToException } from '../_wire_errors'
import { instant } from './_clock'
import type { MemoryEngine } from './_engine'
import type { Row } from './_rows'

/** One call of an activity, a step, a job or a workflow, with all its attempts. */
export interface Call {
  /** Of the function. */
  readonly name: string
  /** job, activity, step or workflow. */
  readonly kind: Kind
  /** As the body got them. */
  readonly args: readonly any[]
  /** When the first attempt began. */
  readonly started: Date
  /** Of the execution; of a step, that of its workflow. */
  readonly id: string
  /** How often the body began; of a workflow, its runs. */
  attempts: number
  /** What each attempt that failed has thrown, the errors themselves. */
  readonly errors: any[]
  /** Of the attempt that succeeded. */
  result: any
  /**
   * running, completed, failed or cancelled; a call that will be tried again is failed meanwhile.
   * Of a workflow, that of its execution.
   */
  status: string
  /** When the last attempt ended, undefined while it runs. */
  ended: Date | undefined
}

/** The calls of all bodies, in the order in which they began. */
export class CallLog {
  readonly calls: Call[] = []
  readonly #byKey = new Map<string, Call>()

  constructor(private readonly now: () => Date) {}

  /** Notes that an attempt has begun; attempts with the same key are one call. */
  began(key: string, id: string, fn: DurableFunction, args: readonly unknown[]): Call {
    const call = this.#byKey.get(key) ?? this.#add(key, id, fn, args)
    call.attempts += 1
    call.status = 'running'
    call.ended = undefined
    return call
  }

  #add(key: string, id: string, fn: DurableFunction, args: readonly unknown[]): Call {
    const { functionName: name, kind } = fn
    const rest = { attempts: 0, errors: [], result: undefined, status: '', ended: undefined }
    const call: Call = { name, kind, args: [...args], started: this.now(), id, ...rest }
    this.#byKey.set(key, call)
    this.calls.push(call)
    return call
  }

  /** Notes how an attempt has ended. */
  ended(call: Call, ok: boolean, value: unknown): void {
    call.ended = this.now()
    if (ok) {
      call.status = 'completed'
      call.result = value
      return
    }
    call.status = value instanceof CancelledError ? 'cancelled' : 'failed'
    call.errors.push(value)
  }
}

/** Answers the executions of a workflow as calls of it. */
export function callsOfWorkflows(engine: MemoryEngine, name: string): Call[] {
  const rows = [...engine.rows.values()]
  return rows.filter((row) => row.isWorkflow && row.name === name).map(callOf)
}

function callOf(row: Row): Call {
  return {
    name: row.name,
    kind: 'workflow',
    args: adapt(row.args, 'args'),
    started: instant(row.created),
    id: row.id,
    attempts: row.run,
    errors: row.error === undefined ? [] : [errorToException(row.error)],
    result: row.status === 'completed' ? adapt(row.result, 'result') : undefined,
    status: row.status,
    ended: row.finished === undefined ? undefined : instant(row.finished),
  }
}
