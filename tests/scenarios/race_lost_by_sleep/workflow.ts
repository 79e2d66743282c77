import { activity, race, sleep, workflow } from 'libworkflows'
import { other } from '../scenario'

const ask = activity('race_lost_by_sleep.ask', async () => 'answered')

export const raceLostBySleep = workflow('race_lost_by_sleep', async () =>
  race({ answer: other(ask).run(), late: sleep('1h') }),
)
