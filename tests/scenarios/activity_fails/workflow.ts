import { ActivityError, activity, RemoteError, workflow } from 'libworkflows'
import { other } from '../scenario'

class OutOfFunds extends Error {
  details: Record<string, number> = {}
}

const charge = activity(
  { name: 'activity_fails.charge', retries: 2, initial: 0.01 },
  async (cents: number) => {
    const error = new OutOfFunds(`no ${cents} cents: \u00e4\u20ac\u{1f4b8}`)
    error.details = { missing: cents }
    throw error
  },
)

export const activityFails = workflow('activity_fails', async () => {
  try {
    await other(charge).run(5)
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    const cause = error.cause
    if (!(cause instanceof RemoteError)) throw error
    return [
      error.type,
      error.message,
      error.attempts,
      error.details,
      error.remoteStack.includes('activity_fails'),
      [cause.type, cause.message],
    ]
  }
  return []
})
