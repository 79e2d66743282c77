import { activity, shield, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const refund = activity('cancel_shielded_work.refund', async () => {
  note('refunding')
  await gate('bank')
  note('refunded')
  return 'refunded'
})

export const cancelShieldedWork = workflow('cancel_shielded_work', async () => {
  const refunding = other(refund).run()
  try {
    await shield(refunding)
  } catch (error) {
    await refunding
    throw error
  }
  return 'never'
})
