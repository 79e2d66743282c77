/** Whose body is running. */

import { AsyncLocalStorage } from 'node:async_hooks'
import type { Attempt } from './_attempts'
import type { Client } from './_client'

/** One try: what goes on after its timeout must not take the signal of the next for its own. */
export interface Try {
  readonly attempt: Attempt
  /** The worker's: what the body queues goes where the body came from. */
  readonly client: Client
  readonly controller: Stopping
  /** Names it for the log. */
  readonly who: string
  /** Whether somebody waits for what becomes of it. */
  isAwaited: boolean
}

/** The one context of a body: each costs it, and all that it awaits. */
export const tries = new AsyncLocalStorage<Try | undefined>()

/** Answers the try whose code is running, or undefined outside bodies. */
export function currentTry(): Try | undefined {
  return tries.getStore()
}

/** Tells a try to stop. It is an AbortController that is made when somebody asks for its signal. */
export class Stopping {
  #reason: Error | undefined
  #controller: AbortController | undefined

  /** Whether the try was told. */
  get aborted(): boolean {
    return this.#reason !== undefined
  }

  /** What is aborted then. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** Tells it, for the first reason that is given. */
  abort(reason: Error): void {
    this.#reason ??= reason
    this.#controller?.abort(this.#reason)
  }
}
