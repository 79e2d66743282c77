import { ActivityError, activity, workflow } from 'libworkflows'
import { note, other } from '../scenario'

class NoSeats extends Error {}

const book = activity({ name: 'saga.book', retries: 0 }, async (what: string) => {
  if (what === 'concert') throw new NoSeats(what)
  note(`booked ${what}`)
  return what
})

const undo = activity('saga.undo', async (what: string) => {
  note(`undid ${what}`)
})

export const saga = workflow('saga', async () => {
  const undoing: (() => Promise<void>)[] = []
  try {
    for (const what of ['flight', 'hotel', 'concert']) {
      const booked = await other(book).run(what)
      undoing.push(() => other(undo).run(booked))
    }
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    for (const each of undoing.reverse()) await each()
    return `stayed at home: ${error.message}`
  }
  return 'travelled'
})
