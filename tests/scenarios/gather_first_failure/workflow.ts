import { ActivityError, activity, all, waitForSignal, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

class NoSuchCity extends Error {}

const book = activity(
  { name: 'gather_first_failure.book', retries: 0 },
  async (city: string): Promise<string> => {
    await gate(city)
    throw new NoSuchCity(city)
  },
)

export const gatherFirstFailure = workflow('gather_first_failure', async () => {
  try {
    await all([other(book).run('Rome'), other(book).run('Oslo')])
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    return [error.type, error.message, await waitForSignal<string>('word')]
  }
  return []
})
