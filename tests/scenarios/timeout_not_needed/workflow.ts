import { activity, timeout, workflow } from 'libworkflows'
import { other } from '../scenario'

const ask = activity('timeout_not_needed.ask', async () => 'answered')

export const timeoutNotNeeded = workflow('timeout_not_needed', async () => {
  const answer = await timeout('1h', () => other(ask).run())
  return `${answer}, and again: ${await other(ask).run()}`
})
