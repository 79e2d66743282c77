/** The part of a history that a claim leaves out, for a worker that has forgotten the workflow. */

import { Internal } from './_errors'
import { type Claimed, type Event, Operation } from './_operations'

const HISTORY_PAGE = 10_000

/** Performs an operation. */
type Call = (operation: Operation, request: object) => Promise<any>

/** Reads it, page by page. */
export async function olderEvents(claimed: Claimed, call: Call): Promise<Event[]> {
  const events: Event[] = []
  const { id, run, after: last = 0 } = claimed
  for (let position = 0; position < last; position = events.at(-1)?.position ?? last) {
    const request = { id, run, after: position, limit: HISTORY_PAGE }
    const reply = await call(Operation.GET_HISTORY, request)
    if (reply.events.length === 0) throw new Internal(`the history of ${id} ends before ${last}`)
    events.push(...reply.events)
  }
  return events.filter((event) => event.position <= last)
}
