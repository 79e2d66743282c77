import { CancelledError, sleep, timeout, workflow } from 'libworkflows'

export const cancelInATimeout = workflow('cancel_in_a_timeout', async () => {
  try {
    await timeout('1h', () => sleep('2h'))
  } catch (error) {
    if (!(error instanceof CancelledError)) return 'never'
    await sleep(0)
    throw error
  }
  return 'never'
})
