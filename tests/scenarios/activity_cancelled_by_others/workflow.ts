import { ActivityCancelled, activity, waitForSignal, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const work = activity('activity_cancelled_by_others.work', async () => {
  note('begun')
  await gate('never')
})

export const activityCancelledByOthers = workflow('activity_cancelled_by_others', async () => {
  try {
    await other(work).run()
  } catch (error) {
    if (!(error instanceof ActivityCancelled)) throw error
    return [error.type, error.message, await waitForSignal<string>('word')]
  }
  return []
})
