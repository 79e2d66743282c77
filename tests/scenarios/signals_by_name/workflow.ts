import { waitForSignal, workflow } from 'libworkflows'

export const signalsByName = workflow('signals_by_name', async () => {
  const b = await waitForSignal<string>('b')
  const a = await waitForSignal<string>('a')
  return [b, a]
})
