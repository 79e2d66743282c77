/** Workflows whose code went on, after they were forgotten, for what is not durable. */

import { strayed } from './_loop'
import type { Claimed } from './_operations'
import type { Replay } from './_replay'

const MOST = 1000 // the oldest are forgotten

/**
 * What a worker knows of them, so that it fails them at their next claim.
 *
 * It would fail them at once if it had kept them in memory. Whether it did must not decide.
 */
export class Strays {
  readonly #runs = new Set<string>()

  /** Has a replay fail if its code strayed when it was in memory before; listens if it does again. */
  watch(replay: Replay): void {
    const { claimed } = replay
    if (this.#runs.size > 0 && this.#runs.delete(runOf(claimed))) replay.fatal = strayed()
    replay.onStray = () => {
      this.#runs.add(runOf(claimed))
      const [oldest] = this.#runs
      if (this.#runs.size > MOST && oldest !== undefined) this.#runs.delete(oldest)
    }
  }
}

function runOf({ id, run }: Claimed): string {
  return `${id}:${run}`
}
