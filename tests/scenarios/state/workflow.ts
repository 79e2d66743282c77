import { setState, waitForSignal, workflow } from 'libworkflows'

export const state = workflow('state', async () => {
  setState({ step: 'waiting' })
  await waitForSignal('go on')
  setState({ step: 'going' })
  setState({ step: 'done', of: [1, null, '\u00e4'] })
})
