import { activity, setState, step, waitForSignal, workflow } from 'libworkflows'
import { other } from '../scenario'

const byActivity = activity('payload_everywhere.activity', async (value: unknown) => value)

const byStep = step('payload_everywhere.step', async (value: unknown) => value)

const byChild = workflow('payload_everywhere.child', async (value: unknown) => [
  value,
  await waitForSignal('value'),
])

export const payloadEverywhere = workflow('payload_everywhere', async (given: unknown) => {
  let value = await other(byActivity).run(given)
  value = await byStep.run(value)
  setState(value)
  const signalled = await waitForSignal('value')
  return [value, signalled, await other(byChild).run(value)]
})
