import { activity, attemptInfo, workflow } from 'libworkflows'
import { note, other } from '../scenario'

const ask = activity(
  {
    name: 'retries_until_it_works.ask',
    retries: 3,
    initial: 0.01,
    factor: 2,
    max: 0.05,
    jitter: 0,
  },
  async () => {
    const { attempt } = attemptInfo()
    note(`attempt ${attempt}`)
    if (attempt < 3) throw new Error('busy')
    return attempt
  },
)

export const retriesUntilItWorks = workflow('retries_until_it_works', () => other(ask).run())
