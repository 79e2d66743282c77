import { activity, race, sleep, waitForSignal, workflow } from 'libworkflows'
import { other } from '../scenario'

const remind = activity('race_of_functions.remind', async (n: number) => n)

async function reminders(): Promise<string> {
  for (const n of [1, 2]) {
    await sleep(0.05)
    await other(remind).run(n)
  }
  await sleep('1h')
  return 'never'
}

export const raceOfFunctions = workflow('race_of_functions', async () =>
  race({ answer: () => waitForSignal<string>('answer'), reminders }),
)
