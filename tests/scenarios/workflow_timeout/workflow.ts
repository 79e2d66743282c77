import { sleep, workflow } from 'libworkflows'
import { other } from '../scenario'

const child = workflow('workflow_timeout.child', () => sleep('1h'))

export const workflowTimeout = workflow('workflow_timeout', async () => {
  await other(child).run()
})
