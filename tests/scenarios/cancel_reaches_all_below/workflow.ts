import { activity, waitForSignal, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const leaf = activity('cancel_reaches_all_below.leaf', async () => {
  note('the leaf has begun')
  await gate('never')
})

const child = workflow('cancel_reaches_all_below.child', async () => {
  await other(leaf).run()
})

const detached = workflow('cancel_reaches_all_below.detached', () => waitForSignal<string>('word'))

export const cancelReachesAllBelow = workflow('cancel_reaches_all_below', async () => {
  await other(detached).options({ closePolicy: 'detach' }).queue()
  await other(child).run()
})
