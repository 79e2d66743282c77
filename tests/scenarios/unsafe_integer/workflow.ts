import { PayloadError, waitForSignal, workflow } from 'libworkflows'

export const unsafeInteger = workflow('unsafe_integer', async () => {
  try {
    await waitForSignal('number')
  } catch (error) {
    if (!(error instanceof PayloadError)) throw error
    return [error.path, await waitForSignal('number')]
  }
  return []
})
