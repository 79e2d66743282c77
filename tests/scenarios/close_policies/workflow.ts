import { waitForSignal, workflow } from 'libworkflows'
import { other } from '../scenario'

const child = workflow('close_policies.child', () => waitForSignal<string>('word'))

const detached = workflow('close_policies.detached', () => waitForSignal<string>('word'))

export const closePolicies = workflow('close_policies', async () => {
  await other(child).queue()
  await other(detached).options({ closePolicy: 'detach' }).queue()
  return waitForSignal<string>('end')
})
