import { activity, sleep, workflow } from 'libworkflows'
import { note, other } from '../scenario'

const undo = activity('terminated.undo', async () => note('undone'))

export const terminated = workflow('terminated', async () => {
  try {
    await sleep('1h')
  } finally {
    await other(undo).run()
  }
})
