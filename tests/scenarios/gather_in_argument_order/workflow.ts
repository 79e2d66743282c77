import { activity, all, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

const fetch = activity('gather_in_argument_order.fetch', async (name: string) => {
  await gate(name)
  return name.toUpperCase()
})

export const gatherInArgumentOrder = workflow('gather_in_argument_order', async () =>
  all(['a', 'b', 'c'].map((name) => other(fetch).run(name))),
)
