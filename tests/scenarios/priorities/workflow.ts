import { activity, all, workflow } from 'libworkflows'
import { other } from '../scenario'

const urgent = activity({ name: 'priorities.urgent', priority: 9 }, async () => {})

const usual = activity('priorities.usual', async () => {})

const later = workflow({ name: 'priorities.later', priority: 1 }, async () => {})

export const priorities = workflow('priorities', async () => {
  await all([other(urgent).run(), other(usual).run()])
  await other(later).run()
  await other(usual).options({ priority: 0 }).run()
})
