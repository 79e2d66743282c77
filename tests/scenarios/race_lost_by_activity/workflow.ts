import { activity, race, sleep, waitForSignal, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const ask = activity('race_lost_by_activity.ask', async () => {
  note('asked')
  await gate('never')
  return 'answered'
})

export const raceLostByActivity = workflow('race_lost_by_activity', async () => {
  const [name, value] = await race({
    answer: other(ask).run(),
    signal: waitForSignal<string>('enough'),
  })
  await sleep(0)
  return [name, value]
})
