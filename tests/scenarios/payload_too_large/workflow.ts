import { ActivityError, activity, workflow } from 'libworkflows'
import { other } from '../scenario'

const talk = activity({ name: 'payload_too_large.talk', retries: 0 }, async () =>
  'a'.repeat(2_000_000),
)

export const payloadTooLarge = workflow('payload_too_large', async () => {
  try {
    await other(talk).run()
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    return [error.type, error.message, error.attempts]
  }
  return []
})
