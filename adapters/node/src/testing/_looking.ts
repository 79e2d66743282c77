/** The operations of the engine in memory that only look. */
import { Ledger } from './_ledger'
import { Fault, type Json, type Row } from './_rows'

/** Answers what is. */
export class Looking extends Ledger {
  /**
   * Answers an execution.
   *
   * @throws Fault - there is none.
   */
  find(id: string): Row {
    const row = this.rows.get(id)
    if (row === undefined) {
      throw new Fault('execution_not_found', `no execution has id ${id}`, { id })
    }
    return row
  }

  protected getExecution(request: Json): Json {
    return this.find(request.id).reply()
  }

  protected getHistory(request: Json): Json {
    const row = this.find(request.id)
    const run = request.run || row.run
    const limit = request.limit || 1000
    const events = (row.histories.get(run) ?? []).slice(request.after ?? 0)
    return { run, events: events.slice(0, limit), ...(events.length > limit && { more: true }) }
  }

  protected listExecutions(request: Json): Json {
    const limit = request.limit || 100
    const found = [...this.rows.values()]
      .filter((row) => isListed(row, request))
      .sort((one, other) => (one.id < other.id ? 1 : -1))
    const page = found.slice(0, limit)
    return {
      executions: page.map((row) => row.reply()),
      ...(found.length > limit && { cursor: page.at(-1)?.id }),
    }
  }

  protected stats(): Json {
    const queues = new Map<string, Json>()
    for (const row of this.rows.values()) {
      const counts = queues.get(row.queue) ?? emptyQueue(row.queue)
      queues.set(row.queue, counts)
      if (row.status in counts) counts[row.status] += 1
    }
    return {
      schema: 'workflows',
      schema_version: 0,
      server_version: 'in memory',
      server_time: this.clock.at(),
      queues: [...queues.keys()].sort().map((name) => queues.get(name)),
      workers: [],
    }
  }

  protected migrate(): Json {
    return { schema: 'workflows', from: 0, version: 0, latest: 0 }
  }

  protected recoverNone(): Json {
    return { workers: 0, executions: 0, parked: 0 }
  }
}

function emptyQueue(queue: string): Json {
  const counts = { scheduled: 0, pending: 0, running: 0, suspended: 0, failed: 0 }
  return { queue, ...counts, oldest_pending_ms: 0 }
}

function isListed(row: Row, request: Json): boolean {
  const { status, parent_id: parent, root_id: root, cursor } = request
  return (
    (!status?.length || status.includes(row.status)) &&
    (!request.kind || row.kind === request.kind) &&
    (!request.name || row.name === request.name) &&
    (!request.queue || row.queue === request.queue) &&
    (parent == null || row.parent?.id === parent) &&
    (root == null || row.root.id === root) &&
    (!request.parked || row.parked !== undefined) &&
    (!cursor || row.id < cursor)
  )
}
