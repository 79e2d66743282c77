import { activity, workflow } from 'libworkflows'
import { other } from '../scenario'

const tomorrow = activity('payload_dates.tomorrow', async (at: Date | string) => {
  const day = new Date(at)
  day.setUTCDate(day.getUTCDate() + 1)
  return day
})

export const payloadDates = workflow('payload_dates', async () => {
  const at = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678))
  return [new Date(await other(tomorrow).run(at)).getTime() / 1000]
})
