/**
 * What becomes of an order: a workflow, the activities that it calls, and a step.
 *
 * It is what examples/python/orders/flows.py is, under the same names: a worker in either
 * language takes orders, and activities, that were queued by the other.
 */

import { ActivityError, activity, all, sleep, step, waitForSignal, workflow } from 'libworkflows'
import * as outside from './outside'

const LARGE: Record<string, number> = {
  EUR: 1000,
  GBP: 850,
  USD: 1100,
  CHF: 950,
  SEK: 11000,
  PLN: 4300,
  JPY: 160000,
}

interface Order {
  number: string
  customer: string
  item: string
  quantity: number
  /** A decimal number: text, so that no digit of it is lost. */
  amount: string
  currency: string
  card: string
}

interface Approval {
  granted: boolean
  by: string
}

interface Outcome {
  state: string
  detail: string
}

/** Puts the goods aside while somebody looks at a large sum; charges; rests; writes. */
export const fulfil = workflow(
  { name: 'fulfil', queue: 'orders', timeout: '1h' },
  async (order: Order): Promise<Outcome> => {
    const [shelf, approval] = await all([reserve.run(order), approved(order)])
    if (!approval.granted) {
      await release.run(order)
      return { state: 'rejected', detail: `by ${approval.by}` }
    }
    let payment: string
    try {
      payment = await charge.run(order)
    } catch (error) {
      if (!(error instanceof ActivityError)) throw error
      await release.run(order)
      return { state: 'declined', detail: error.message }
    }
    await sleep('1s') // durable: no worker is held by it, and none has to survive it
    await receipt.run(order, payment)
    return { state: 'shipped', detail: `from ${shelf}, ${payment}` }
  },
)

/** Asks nobody about small sums, and waits for an answer about large ones. */
async function approved(order: Order): Promise<Approval> {
  const large = LARGE[order.currency] ?? 0
  if (Number(order.amount) < large) return { granted: true, by: 'nobody' }
  return await waitForSignal<Approval>('approval')
}

// What has begun is finished before anything new is: hence the priority.

export const charge = activity(
  { name: 'charge', priority: 9, retries: 5, initial: '200ms', nonRetryable: [outside.Declined] },
  async (order: Order) =>
    await outside.take(order.card, order.amount, order.currency, order.number),
)

export const reserve = activity(
  { name: 'reserve', priority: 9 },
  async (order: Order) => await outside.putAside(order.item, order.quantity, order.number),
)

export const release = activity({ name: 'release', priority: 9 }, async (order: Order) => {
  await outside.putBack(order.number)
})

// Short, so it runs where the workflow does.
export const receipt = step({ name: 'receipt' }, async (order: Order, payment: string) => {
  const text = `${order.quantity} x ${order.item}, ${order.amount} ${order.currency}, ${payment}`
  await outside.send(order.customer, text, order.number)
})
