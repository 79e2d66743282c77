import { activity, continueAsNew, workflow, workflowInfo } from 'libworkflows'
import { other } from '../scenario'

const double = activity('continue_as_new.double', async (n: number) => 2 * n)

export const goOn = workflow('continue_as_new', async (n: number, left: number) => {
  if (left === 0) return [n, workflowInfo().run]
  return continueAsNew(await other(double).run(n), left - 1)
})
