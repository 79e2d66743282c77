import { activity, CancelledError, sleep, workflow } from 'libworkflows'
import { note, other } from '../scenario'

const book = activity('cancel_and_compensate.book', async (what: string) => {
  note(`booked ${what}`)
  return what
})

const undo = activity('cancel_and_compensate.undo', async (what: string) => {
  note(`undid ${what}`)
})

export const cancelAndCompensate = workflow('cancel_and_compensate', async () => {
  const booked: string[] = []
  try {
    for (const what of ['flight', 'hotel']) booked.push(await other(book).run(what))
    await sleep('1h')
  } catch (error) {
    if (error instanceof CancelledError) {
      for (const what of booked.reverse()) await other(undo).run(what)
    }
    throw error
  }
  return 'travelled'
})
