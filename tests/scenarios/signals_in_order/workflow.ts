import { waitForSignal, workflow } from 'libworkflows'

export const signalsInOrder = workflow('signals_in_order', async () => [
  await waitForSignal('item'),
  await waitForSignal('item'),
  await waitForSignal('item'),
])
