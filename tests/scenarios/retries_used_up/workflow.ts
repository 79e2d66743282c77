import { ActivityError, activity, workflow } from 'libworkflows'
import { note, other } from '../scenario'

class Busy extends Error {}

const ask = activity({ name: 'retries_used_up.ask', initial: 0.01 }, async (who: string) => {
  note(who)
  throw new Busy(who)
})

export const retriesUsedUp = workflow('retries_used_up', async () => {
  const told: unknown[] = []
  for (const retries of [0, 2]) {
    try {
      await other(ask).options({ retries }).run(`retries=${retries}`)
    } catch (error) {
      if (!(error instanceof ActivityError)) throw error
      told.push([error.type, error.message, error.attempts])
    }
  }
  return told
})
