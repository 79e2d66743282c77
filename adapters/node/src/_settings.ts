/** Settings from the environment, and durations. */

import { inspect } from 'node:util'
import { InvalidConfig, InvalidDuration } from './_errors'

/** Seconds as a number, or text such as "30s", "5m", "1h30m", "250ms". */
export type Duration = number | string

/** How to read a duration. */
export interface DurationOptions {
  /** What to call it in an error. Default "a duration". */
  readonly name?: string
  /** Accept less than nothing. Default false. */
  readonly negative?: boolean
}

const UNITS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
}
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g
const WHOLE = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+$/
const NUMBER = /^-?\d+(?:\.\d+)?$/
const LONGEST = 100 * 366 * 86_400

/**
 * Reads a duration as seconds.
 *
 * @param value A number of seconds, or text such as "30s", "5m", "24h", "1d", "250ms" or "1h30m".
 * @param options.name What to call it in an error.
 * @param options.negative Accept less than nothing.
 * @throws {InvalidDuration} It is none of these, below 0, infinite or above 100 years.
 *
 * @example
 * ```ts
 * seconds('1h30m') // 5400
 * seconds('250ms') // 0.25
 * seconds('soon', { name: 'timeout' }) // InvalidDuration: timeout must be seconds as a number ...
 * ```
 */
export function seconds(value: Duration, options: DurationOptions = {}): number {
  const { name = 'a duration', negative = false } = options
  const found = read(value)
  if (found === undefined) {
    throw new InvalidDuration(
      `${name} must be seconds as a number, or text such as "30s", "5m", "24h" or "250ms",` +
        ` not ${inspect(value)}`,
    )
  }
  if (!(Math.abs(found) <= LONGEST)) {
    throw new InvalidDuration(`${name} must be at most 100 years, not ${inspect(value)}`)
  }
  if (found < 0 && !negative) {
    throw new InvalidDuration(`${name} must not be negative, as ${inspect(value)} is`)
  }
  return found
}

/**
 * Reads a duration as whole milliseconds, rounded up: what is above 0 stays above 0.
 *
 * @throws {InvalidDuration} As for `seconds`.
 *
 * @example
 * ```ts
 * milliseconds('5m') // 300000
 * milliseconds(0.0001) // 1
 * ```
 */
export function milliseconds(value: Duration, options: DurationOptions = {}): number {
  const found = seconds(value, options) * 1000
  return Math.ceil(Number(found.toFixed(6))) || (found > 0 ? 1 : 0)
}

function read(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value !== 'string') return undefined
  const text = value.trim()
  if (NUMBER.test(text)) return Number(text)
  if (!WHOLE.test(text)) return undefined
  let sum = 0
  for (const [, amount, unit] of text.matchAll(PART))
    sum += Number(amount) * (UNITS[unit as string] as number)
  return sum
}

/**
 * What `WORKFLOWS_*` says; undefined where it says nothing. Durations are seconds.
 *
 * @example
 * ```ts
 * Settings.fromEnvironment({ WORKFLOWS_DEFAULT_TIMEOUT: '5m' }).defaultTimeout // 300
 * ```
 */
export interface Settings {
  readonly databaseUrl: string | undefined
  readonly listenUrl: string | undefined
  readonly schema: string | undefined
  readonly workerHeartbeatInterval: number | undefined
  readonly workerHeartbeatTimeout: number | undefined
  readonly workerPollInterval: number | undefined
  readonly workerMaxConcurrent: number | undefined
  readonly workerWarm: number | undefined
  readonly defaultTimeout: number | undefined
  readonly defaultWorkflowTimeout: number | undefined
  readonly defaultRetries: number | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

export const Settings = {
  /**
   * Reads the environment.
   *
   * A variable that is set to nothing counts as not set. `defaultRetries` and `workerWarm` must
   * not be negative, `workerMaxConcurrent` must be 1 or more.
   *
   * @throws {InvalidConfig} A variable has a value that makes no sense; the message names it.
   */
  fromEnvironment(env: Environment = process.env): Settings {
    return {
      databaseUrl: setting(env, 'DATABASE_URL', text),
      listenUrl: setting(env, 'LISTEN_URL', text),
      schema: setting(env, 'SCHEMA', text),
      workerHeartbeatInterval: setting(env, 'WORKER_HEARTBEAT_INTERVAL', duration),
      workerHeartbeatTimeout: setting(env, 'WORKER_HEARTBEAT_TIMEOUT', duration),
      workerPollInterval: setting(env, 'WORKER_POLL_INTERVAL', duration),
      workerMaxConcurrent: setting(env, 'WORKER_MAX_CONCURRENT', positive),
      workerWarm: setting(env, 'WORKER_WARM', count),
      defaultTimeout: setting(env, 'DEFAULT_TIMEOUT', duration),
      defaultWorkflowTimeout: setting(env, 'DEFAULT_WORKFLOW_TIMEOUT', duration),
      defaultRetries: setting(env, 'DEFAULT_RETRIES', count),
    }
  },
}

function setting<T>(
  env: Environment,
  name: string,
  convert: (name: string, value: string) => T,
): T | undefined {
  const full = `WORKFLOWS_${name}`
  const value = env[full]?.trim()
  return value ? convert(full, value) : undefined
}

function text(_name: string, value: string): string {
  return value
}

function duration(name: string, value: string): number {
  return seconds(value, { name })
}

function count(name: string, value: string): number {
  if (!/^\d{1,9}$/.test(value)) {
    throw new InvalidConfig(`${name} must be a whole number, 0 or more, not ${inspect(value)}`)
  }
  return Number(value)
}

function positive(name: string, value: string): number {
  const found = count(name, value)
  if (found < 1) throw new InvalidConfig(`${name} must be 1 or more, not ${inspect(value)}`)
  return found
}
