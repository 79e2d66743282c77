/** Suspended workflows that stay in memory, so that they need not be replayed. */

import type { Claimed } from './_operations'
import type { Replay } from './_replay'

/**
 * A cache of suspended workflows, bounded by their number; the one used longest ago goes first.
 *
 * With a size of 0 every claim replays from the start.
 */
export class Warm {
  readonly #held = new Map<string, { replay: Replay; token: string }>()

  constructor(private readonly size: number) {}

  /** Keeps a workflow that was suspended under the lease with this token. */
  put(replay: Replay, token: string): void {
    const id = replay.claimed.id
    this.#discard(id)
    if (this.size === 0) {
      replay.discard()
      return
    }
    this.#held.set(id, { replay, token })
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= this.size) break
      this.#discard(oldest)
    }
  }

  /** Answers the workflow, if nobody has held it since it was put here. */
  take(claimed: Claimed): Replay | undefined {
    const found = this.#held.get(claimed.id)
    if (found === undefined) return undefined
    this.#held.delete(claimed.id)
    const { replay, token } = found
    // The token of the lease before is this one's: nobody has held it since, and no
    // failover has taken back what this process knows.
    if (
      replay.claimed.run === claimed.run &&
      claimed.previous_token === token &&
      (claimed.after ?? 0) <= replay.position &&
      replay.position <= claimed.position
    ) {
      replay.claimed = claimed
      return replay
    }
    replay.discard()
    return undefined
  }

  /** Discards all. */
  clear(): void {
    for (const id of [...this.#held.keys()]) this.#discard(id)
  }

  /** How many are in memory. */
  get length(): number {
    return this.#held.size
  }

  #discard(id: string): void {
    const found = this.#held.get(id)
    this.#held.delete(id)
    found?.replay.discard()
  }
}
