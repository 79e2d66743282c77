import { all, waitForSignal, workflow } from 'libworkflows'

export const waitsSideBySide = workflow('waits_side_by_side', async () => {
  const first = waitForSignal<string>('item')
  const second = waitForSignal<string>('item')
  const other = waitForSignal<string>('other')
  return all([other, second, first])
})
