import { activity, workflow } from 'libworkflows'
import { other } from '../scenario'

class OutOfFunds extends Error {}

class BankError extends Error {}

const charge = activity({ name: 'chain_of_causes.charge', retries: 1, initial: 0.01 }, async () => {
  try {
    throw new OutOfFunds('account is empty')
  } catch (error) {
    throw new BankError('declined', { cause: error })
  }
})

const child = workflow('chain_of_causes.child', async () => {
  await other(charge).run()
})

export const chainOfCauses = workflow('chain_of_causes', async () => {
  await other(child).run()
})
