/** What the next run of a workflow keeps of the one that failed. */
import type { Json } from './_rows'

const FAILED = new Set(['activity_failed', 'child_failed', 'step_failed'])
const BAD = new Set([...FAILED, 'activity_cancelled', 'child_cancelled'])
const GONE = new Set(['activity_cancelled', 'child_cancelled', 'timer_cancelled'])
const BEGUN = new Set(['activity_scheduled', 'child_started', 'timer_started'])

/**
 * Answers the events that the next run begins with, in order.
 *
 * Of what was asked for before it went wrong only what had an outcome is kept, and no failure
 * that came later; what was asked for later belongs to the cleaning up.
 */
export function kept(events: readonly Json[], voided: number | undefined): Json[] {
  const at = wrong(events, voided)
  const last = events.slice(0, at).reduce((most, event) => Math.max(most, event.sequence ?? 0), 0)
  const settled = new Set<number>()
  for (const { sequence, type } of events) {
    if (sequence === undefined || sequence > last || sequence === voided) continue
    if (!BEGUN.has(type)) settled.add(sequence)
  }
  events.forEach(({ type, sequence }, n) => {
    if (GONE.has(type) || (n > at && FAILED.has(type))) settled.delete(sequence)
  })
  return events.filter(
    ({ sequence, type }) =>
      type !== 'cancel_requested' && (sequence === undefined || settled.has(sequence)),
  )
}

/** Answers where it went wrong: the request to stop, or the failure that nobody caught. */
function wrong(events: readonly Json[], voided: number | undefined): number {
  const at = events.findIndex(
    ({ sequence, type }) =>
      type === 'cancel_requested' || (voided !== undefined && sequence === voided && BAD.has(type)),
  )
  return at < 0 ? events.length : at
}
