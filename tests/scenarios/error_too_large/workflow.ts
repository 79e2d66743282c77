import { ActivityError, activity, workflow } from 'libworkflows'
import { other } from '../scenario'

class Endless extends Error {}

const talk = activity({ name: 'error_too_large.talk', retries: 0 }, async () => {
  throw new Endless('a'.repeat(100_000) + 'b'.repeat(100_000))
})

export const errorTooLarge = workflow('error_too_large', async () => {
  try {
    await other(talk).run()
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    const message = error.message
    const middle = message.replace(/^a+|b+$/g, '').trim()
    return [error.type, message.length < 65_536, message.slice(0, 2), middle, message.slice(-2)]
  }
  return []
})
