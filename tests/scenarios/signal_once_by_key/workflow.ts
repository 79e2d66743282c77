import { waitForSignal, workflow } from 'libworkflows'

export const signalOnceByKey = workflow('signal_once_by_key', async () => [
  await waitForSignal('item'),
  await waitForSignal('item'),
])
