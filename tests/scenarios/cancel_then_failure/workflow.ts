import { sleep, workflow } from 'libworkflows'

class CannotUndo extends Error {}

export const cancelThenFailure = workflow('cancel_then_failure', async () => {
  try {
    await sleep('1h')
  } catch {
    throw new CannotUndo('it is too late')
  }
})
