/** Code that runs as the body of a function does. */

import { Attempt } from '../src/_attempts'
import type { Client } from '../src/_client'
import type { Claimed } from '../src/_operations'
import { Stopping, tries } from '../src/_tries'

/** Runs code as a body whose worker has this client. */
export function withClient<T>(client: Client, body: () => T): T {
  const attempt = new Attempt({} as Claimed, () => {})
  const trial = { attempt, client, controller: new Stopping(), who: 'a test', isAwaited: true }
  return tries.run(trial, body)
}
