import { ActivityCancelled, activity, job, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

const mail = job(
  { name: 'jobs_and_handles.mail', priority: 9 },
  async (to: string) => `sent to ${to}`,
)

const wait = activity('jobs_and_handles.wait', () => gate('never'))

export const jobsAndHandles = workflow('jobs_and_handles', async () => {
  const sent = await (await other(mail).queue('ann')).result()
  const waiting = await other(wait).queue()
  const told: unknown[] = [sent, await waiting.cancel()]
  try {
    await waiting.result()
  } catch (error) {
    if (!(error instanceof ActivityCancelled)) throw error
    told.push(error.message)
  }
  return told
})
