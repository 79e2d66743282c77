import { ActivityError, activity, race, sleep, workflow } from 'libworkflows'
import { other } from '../scenario'

class Unreachable extends Error {}

const ask = activity({ name: 'race_won_by_failure.ask', retries: 0 }, async (): Promise<string> => {
  throw new Unreachable('nobody is there')
})

export const raceWonByFailure = workflow('race_won_by_failure', async () => {
  try {
    await race({ answer: other(ask).run(), late: sleep('1h') })
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    return `${error.type}: ${error.message}`
  }
  return ''
})
