import { waitForSignal, workflow } from 'libworkflows'

export const idempotencyKey = workflow('idempotency_key', async (order: string) => {
  await waitForSignal('go on')
  return order
})
