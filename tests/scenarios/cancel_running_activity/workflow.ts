import { activity, CancelledError, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const work = activity('cancel_running_activity.work', async () => {
  note('begun')
  await gate('never')
  return 'done'
})

export const cancelRunningActivity = workflow('cancel_running_activity', async () => {
  try {
    return await other(work).run()
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error
    return 'cancelled'
  }
})
