import { race, sleep, waitForSignal, workflow } from 'libworkflows'

export const cancelInARace = workflow('cancel_in_a_race', async () => {
  try {
    await race({ a: sleep('1h'), b: waitForSignal('word', { timeout: '2h' }) })
  } catch (error) {
    await sleep(0)
    throw error
  }
})
