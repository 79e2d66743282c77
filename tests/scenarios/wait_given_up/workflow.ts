import { race, sleep, waitForSignal, workflow } from 'libworkflows'

export const waitGivenUp = workflow('wait_given_up', async () => {
  const [name] = await race({ item: waitForSignal('item'), go: waitForSignal('go') })
  await sleep(0)
  return [name, await waitForSignal('item')]
})
