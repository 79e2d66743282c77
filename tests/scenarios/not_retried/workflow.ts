import { ActivityError, activity, NonRetryableError, workflow } from 'libworkflows'
import { note, other } from '../scenario'

class BadCard extends Error {}

class Declined extends NonRetryableError {}

const charge = activity(
  { name: 'not_retried.charge', retries: 5, initial: 0.01, nonRetryable: [BadCard] },
  async (card: string) => {
    note(card)
    if (card === 'bad') throw new BadCard(card)
    throw new Declined(card)
  },
)

export const notRetried = workflow('not_retried', async () => {
  const told: unknown[] = []
  for (const card of ['bad', 'empty']) {
    try {
      await other(charge).run(card)
    } catch (error) {
      if (!(error instanceof ActivityError)) throw error
      told.push([error.type, error.message, error.attempts])
    }
  }
  return told
})
