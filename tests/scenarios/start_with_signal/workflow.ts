import { waitForSignal, workflow } from 'libworkflows'

export const startWithSignal = workflow('start_with_signal', async () => [
  await waitForSignal('add'),
  await waitForSignal('add'),
  await waitForSignal('add'),
])
