/**
 * Workflows in a test: no database, no library, no waiting.
 *
 * ```ts
 * await using env = await WorkflowEnvironment.open()
 * env.replace(charge, { returns: 'receipt 1' })
 * assert.equal(await env.run(order, '4242'), 'receipt 1')
 * assert.deepEqual(env.calls(charge)[0]?.args, ['4242', 100])
 * ```
 *
 * @packageDocumentation
 */

export type { Call } from './_calls'
export {
  type CrashWhen,
  type EnvironmentOptions,
  type EnvironmentTest,
  type Instead,
  type Replacement,
  WorkflowEnvironment,
  withEnvironment,
} from './_environment'
export { Endless, Stuck } from './_errors'
export { EnvironmentHandle, type SignalWhen, type When } from './_handle'
export type { Prove } from './_proof'
export { expectDeterministic, type Next, replayHistory, type StoredOptions } from './_stored'
export type { Condition } from './_waiting'
