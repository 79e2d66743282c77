import { continueAsNew, setState, waitForSignal, workflow } from 'libworkflows'

export const continueWithSignals = workflow('continue_with_signals', async (before: string[]) => {
  const items = [...before, await waitForSignal<string>('item')]
  setState(items)
  if (items.length === 1) {
    await waitForSignal('go on')
    return continueAsNew(items)
  }
  if (items.length === 2) return continueAsNew(items)
  return [...items, await waitForSignal<string>('last')]
})
