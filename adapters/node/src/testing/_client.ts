/** The client of an environment: the real one, on the engine in memory. */

import { camelCased, type Execution } from '../_camel'
import { Client } from '../_client'
import { type Engine, refuseInsideWorkflows } from '../_engine'
import { Closed } from '../_errors'
import type { WaitOptions } from '../_handles'
import { type Caller, type CallOptions, Operation } from '../_operations'
import { bodies } from './_bodies'
import type { Runner } from './_runner'

/**
 * Carries requests to the engine in memory, for one worker or for whoever is outside.
 *
 * It stands where the library's engine stands.
 */
export class Wire implements Caller {
  /** Its worker is dead, and hears nothing any more. */
  isCut = false

  constructor(
    private readonly runner: Runner,
    readonly outside: boolean,
  ) {}

  /** Performs an operation. */
  async call(operation: Operation, request: object, { signal }: CallOptions = {}): Promise<any> {
    refuseInsideWorkflows()
    await null
    signal?.throwIfAborted()
    if (this.isCut) return await this.#dead(operation, signal)
    this.runner.refuseClosed()
    const reply = await this.runner.call(operation, request, signal)
    // What was done when its worker died was done, and nobody will ever hear of it.
    return this.isCut ? await silence(signal) : reply
  }

  async #dead(operation: Operation, signal: AbortSignal | undefined): Promise<unknown> {
    if (bodies.getStore() !== undefined) return await silence(signal)
    if (operation === Operation.HEARTBEAT) return {} // its worker sends it while it is taken down
    throw new Closed('the worker of this code was killed')
  }
}

/** Waits for ever, or until it is aborted. */
function silence(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** A client of the engine in memory. */
export class EnvironmentClient extends Client {
  readonly wire: Wire
  readonly #runner: Runner

  constructor(runner: Runner, outside: boolean) {
    super()
    this.#runner = runner
    this.wire = new Wire(runner, outside)
  }

  /** What stands for the library's engine. */
  override get engine(): Engine {
    return this.wire as unknown as Engine
  }

  /** Changes nothing: the engine lives as long as its environment. */
  override async close(): Promise<void> {}

  /** Waits for the end of an execution; the timeout is in the environment's time. */
  override async wait(id: string, options: WaitOptions = {}): Promise<Execution> {
    refuseInsideWorkflows()
    this.#runner.refuseClosed()
    const ended = this.#runner.wait(id, options, this.wire.outside)
    const reply = await (bodies.getStore()?.waiting(ended) ?? ended)
    return camelCased(this.wire.isCut ? await silence(options.signal) : reply)
  }
}
