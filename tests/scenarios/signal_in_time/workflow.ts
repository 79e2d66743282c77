import { waitForSignal, workflow } from 'libworkflows'

export const signalInTime = workflow('signal_in_time', () =>
  waitForSignal<string>('word', { timeout: '1h' }),
)
