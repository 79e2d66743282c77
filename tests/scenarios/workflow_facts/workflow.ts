import { activity, attemptInfo, workflow, workflowInfo } from 'libworkflows'
import { other } from '../scenario'

const look = activity('workflow_facts.look', async () => {
  const info = attemptInfo()
  return [info.name, info.attempt, info.parentId ?? null, info.rootId]
})

const child = workflow('workflow_facts.child', async () => {
  const info = workflowInfo()
  return [info.name, info.run, info.parentId ?? null, info.rootId]
})

export const workflowFacts = workflow('workflow_facts', async () => {
  const info = workflowInfo()
  const first = [info.id, info.run, info.name, info.parentId ?? null, info.historyLength]
  return [first, await other(look).run(), await other(child).run(), workflowInfo().historyLength]
})
