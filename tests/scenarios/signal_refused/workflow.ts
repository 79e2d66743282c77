import { StepError, sendSignal, workflow } from 'libworkflows'
import { other } from '../scenario'

const short = workflow('signal_refused.short', async () => {})

export const signalRefused = workflow('signal_refused', async () => {
  const handle = await other(short).queue()
  await handle.result()
  const told: string[] = []
  for (const id of [handle.id, '01990000-0000-7000-8000-000000000000']) {
    try {
      await sendSignal(id, 'word', 'hello')
    } catch (error) {
      if (!(error instanceof StepError)) throw error
      told.push(error.type)
    }
  }
  return told
})
