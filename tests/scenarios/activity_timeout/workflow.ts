import { ActivityTimeout, activity, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

const hang = activity(
  { name: 'activity_timeout.hang', timeout: 0.1, retries: 1, initial: 0.01 },
  () => gate('never'),
)

export const activityTimeout = workflow('activity_timeout', async () => {
  try {
    await other(hang).run()
  } catch (error) {
    if (!(error instanceof ActivityTimeout)) throw error
    return [error.type, error.attempts]
  }
  return []
})
