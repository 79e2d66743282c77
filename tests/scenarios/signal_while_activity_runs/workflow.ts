import { activity, waitForSignal, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

const charge = activity('signal_while_activity_runs.charge', async () => {
  note('charged')
  await gate('bank')
  return 'paid'
})

export const signalWhileActivityRuns = workflow('signal_while_activity_runs', async () => [
  await other(charge).run(),
  await waitForSignal<string>('word'),
])
