import { ActivityTimeout, activity, workflow } from 'libworkflows'

const ask = activity(
  { name: 'schedule_timeout.ask', queue: 'served by nobody', scheduleTimeout: 0.1 },
  async () => {},
)

export const scheduleTimeout = workflow('schedule_timeout', async () => {
  try {
    await ask.run()
  } catch (error) {
    if (!(error instanceof ActivityTimeout)) throw error
    return error.type
  }
  return ''
})
