/** The library, connected to a database, and shared by all who use that one. */

import type { Caller, CallOptions, Config, Operation } from './_operations'

/** What may be said about one call. */
export interface EngineCallOptions extends CallOptions {
  /** Answer the reply as text, {"ok": ...} or {"error": ...}, instead of what it says. */
  readonly raw?: boolean | undefined
  /** Whether the process may end by itself while the call is on its way. Default false. */
  readonly idle?: boolean | undefined
}

/** The library, connected to one database. */
export class Engine implements Caller {
  /** Answers the engine for a configuration; it connects at the first call. */
  static shared(_url?: string, _config: Partial<Config> = {}): Engine {
    throw new Error('not written yet')
  }

  constructor(readonly config: Partial<Config>) {}

  /** Whether the engine is connected already. */
  get isOpen(): boolean {
    return false
  }

  /** Connects, if that was not done. */
  async open(): Promise<void> {}

  /** Performs an operation and answers what its reply has under "ok". */
  async call(
    _operation: Operation,
    _request: object,
    _options: EngineCallOptions = {},
  ): Promise<any> {
    throw new Error('not written yet')
  }

  /** Gives the engine back; the last one to do so closes it. The grace is in seconds. */
  async close(_grace = 1): Promise<void> {}
}
