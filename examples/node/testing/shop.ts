/** What the tests beside it test. */

import {
  ActivityError,
  activity,
  all,
  setState,
  sleep,
  waitForSignal,
  workflow,
} from 'libworkflows'

export class BankBusy extends Error {}

export interface Receipt {
  number: string
}

export const reserve = activity({ name: 'reserve' }, async (item: string) => `shelf of ${item}`)

export const charge = activity(
  { name: 'charge', retries: 2, initial: '1s' },
  async (card: string, cents: number): Promise<Receipt> => ({ number: `${card} ${cents}` }),
)

export const order = workflow({ name: 'order' }, async (card: string, items: string[]) => {
  await all(items.map((item) => reserve.run(item)))
  setState('waits for approval')
  if (!(await waitForSignal<boolean>('approved', { timeout: '3d' }))) return 'refused'
  try {
    const receipt = await charge.run(card, 100 * items.length)
    return receipt.number
  } catch (error) {
    if (error instanceof ActivityError) return `not paid: ${error.type}`
    throw error
  }
})

export const greeting = workflow({ name: 'greeting' }, async (name: string) => {
  await sleep('30d')
  return `Hello, ${name}!`
})
