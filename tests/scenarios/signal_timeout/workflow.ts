import { now, SignalTimeout, waitForSignal, workflow } from 'libworkflows'

export const signalTimeout = workflow('signal_timeout', async () => {
  const began = now()
  try {
    await waitForSignal('word', { timeout: 0.2 })
  } catch (error) {
    if (!(error instanceof SignalTimeout)) throw error
    return [error.message, now().getTime() - began.getTime() >= 200]
  }
  return []
})
