import { SignalTimeout, waitForSignal, workflow } from 'libworkflows'

export const signalTooLate = workflow('signal_too_late', async () => {
  const told: string[] = []
  try {
    told.push(await waitForSignal<string>('word', { timeout: 0.1 }))
  } catch (error) {
    if (!(error instanceof SignalTimeout)) throw error
    told.push('too late')
  }
  await waitForSignal('go on')
  told.push(await waitForSignal<string>('word'))
  return told
})
