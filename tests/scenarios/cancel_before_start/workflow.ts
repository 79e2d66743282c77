import { step, workflow } from 'libworkflows'
import { note } from '../scenario'

const begin = step('cancel_before_start.begin', async () => note('begun'))

export const cancelBeforeStart = workflow('cancel_before_start', async () => {
  await begin.run()
})
