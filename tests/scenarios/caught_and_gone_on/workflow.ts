import { ActivityError, activity, workflow } from 'libworkflows'
import { other } from '../scenario'

class SoldOut extends Error {}

const book = activity({ name: 'caught_and_gone_on.book', retries: 0 }, async (hotel: string) => {
  if (hotel !== 'Astoria') throw new SoldOut(hotel)
  return hotel
})

export const caughtAndGoneOn = workflow('caught_and_gone_on', async () => {
  const told: string[] = []
  for (const hotel of ['Ritz', 'Astoria', 'Plaza']) {
    try {
      told.push(await other(book).run(hotel))
    } catch (error) {
      if (!(error instanceof ActivityError)) throw error
      told.push(`no room: ${error.message}`)
    }
  }
  return told
})
