import { CancelledError, sleep, workflow } from 'libworkflows'

export const cancelSwallowed = workflow('cancel_swallowed', async () => {
  try {
    await sleep('1h')
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error
    await sleep(0)
  }
  return 'as if nothing had been'
})
