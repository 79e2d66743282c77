import { activity, waitForSignal, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

const work = activity('never_awaited.work', async () => {
  await gate('never')
  return 'done'
})

const detached = activity('never_awaited.detached', async () => {
  await gate('late')
  return 'done'
})

export const neverAwaited = workflow('never_awaited', async () => {
  void other(work).run()
  void other(detached).options({ closePolicy: 'detach' }).run()
  return waitForSignal<string>('end')
})
