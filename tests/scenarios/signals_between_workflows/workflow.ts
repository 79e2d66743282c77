import { activity, sendSignal, waitForSignal, workflow, workflowInfo } from 'libworkflows'
import { gate, other } from '../scenario'

const think = activity('signals_between_workflows.think', async (question: string) => {
  await gate('thought')
  return `${question} 42`
})

const child = workflow('signals_between_workflows.child', async () => {
  const question = await waitForSignal<string>('question')
  const parent = workflowInfo().parentId ?? ''
  await sendSignal(parent, 'answer', await other(think).run(question))
  return 'answered'
})

export const signalsBetweenWorkflows = workflow('signals_between_workflows', async () => {
  const handle = await other(child).queue()
  await handle.signal('question', 'how much?')
  const answer = await waitForSignal<string>('answer')
  return [answer, await handle.result()]
})
