import { waitForSignal, workflow } from 'libworkflows'

export const signalBeforeStart = workflow('signal_before_start', () =>
  waitForSignal<string>('word'),
)
