import { activity, all, sleep, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const work = activity('cancel_during_gather.work', async () => {
  note('begun')
  await gate('never')
})

export const cancelDuringGather = workflow('cancel_during_gather', async () => {
  await all([sleep('1h'), other(work).run(), sleep('2h')])
})
