import { activity, workflow } from 'libworkflows'
import { deployed, note, other } from '../scenario'

class LookupError extends Error {}

const charge = activity('retried_workflow.charge', async () => {
  note('charged')
  return 'charged'
})

const ship = activity({ name: 'retried_workflow.ship', retries: 0 }, async () => {
  note('to ship')
  if (!deployed('the address')) throw new LookupError('no such address')
  return 'shipped'
})

export const retriedWorkflow = workflow('retried_workflow', async () => [
  await other(charge).run(),
  await other(ship).run(),
])
