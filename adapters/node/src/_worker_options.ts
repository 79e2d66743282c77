/** What can be said about a worker. */

import { hostname } from 'node:os'
import { threadId } from 'node:worker_threads'
import type { Durable } from './_functions'
import type { StartWorkerRequest } from './_operations'
import { Registry, registry } from './_registry'
import { type Duration, milliseconds, type Settings } from './_settings'
import { VERSION } from './_version'

/** What can be said about a worker. Durations are seconds, or text such as "30s", "5m". */
export interface WorkerOptions {
  /** Whose executions it runs. Default ['default']. */
  readonly queues?: readonly string[] | undefined
  /**
   * How many it holds at a time. Default `WORKFLOWS_WORKER_MAX_CONCURRENT`, then 10. Workflows may
   * be as many again while bodies hold all slots for more than a second: who cancels a body, or
   * limits its time, is not kept waiting by it.
   */
  readonly concurrency?: number | undefined
  /**
   * How many suspended workflows stay in memory; 0 replays each from the start. Default
   * `WORKFLOWS_WORKER_WARM`, then 2000.
   */
  readonly warm?: number | undefined
  /** Of the database. Default that of `client()`. */
  readonly url?: string | undefined
  /** Default `WORKFLOWS_SCHEMA`, then "workflows". */
  readonly schema?: string | undefined
  /** What it can run. Default everything that was defined. */
  readonly functions?: Registry | Iterable<Durable> | undefined
  /** For whoever reads a list of workers. Default host and process. */
  readonly name?: string | undefined
  /** Default `WORKFLOWS_WORKER_HEARTBEAT_INTERVAL`, then the library's. */
  readonly heartbeatInterval?: Duration | undefined
  /** Default `WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT`, then the library's, 10 s. */
  readonly heartbeatTimeout?: Duration | undefined
  /** Default `WORKFLOWS_WORKER_POLL_INTERVAL`, then the library's, 1 s. */
  readonly pollInterval?: Duration | undefined
  /** How long a stop waits for what runs, before the rest is put back. Default 30 s. */
  readonly drainTimeout?: Duration | undefined
}

/** Answers what a worker can run. */
export function functionsOf(given: WorkerOptions['functions']): Registry {
  if (given === undefined) return registry
  return given instanceof Registry ? given : Registry.of(given)
}

/** Answers what a worker tells the library of itself, beside what it takes on. */
export function introduction(options: WorkerOptions, settings: Settings) {
  return {
    language: 'node',
    runtime: process.versions.node.split('.', 2).join('.'),
    sdk_version: VERSION,
    name: options.name ?? `${hostname()}:${process.pid}${threadId ? `:${threadId}` : ''}`,
    ...intervals(options, settings),
  }
}

/** Answers the intervals of a worker, as the library wants them. */
function intervals(options: WorkerOptions, settings: Settings): Partial<StartWorkerRequest> {
  const found: Partial<StartWorkerRequest> = {}
  for (const [field, value] of [
    ['heartbeat_interval_ms', options.heartbeatInterval ?? settings.workerHeartbeatInterval],
    ['heartbeat_timeout_ms', options.heartbeatTimeout ?? settings.workerHeartbeatTimeout],
    ['poll_interval_ms', options.pollInterval ?? settings.workerPollInterval],
  ] as const) {
    if (value !== undefined) found[field] = milliseconds(value, { name: field })
  }
  return found
}
