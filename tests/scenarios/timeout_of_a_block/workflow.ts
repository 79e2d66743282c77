import { activity, TimeoutError, timeout, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

const ask = activity('timeout_of_a_block.ask', async () => {
  await gate('never')
  return 'answered'
})

export const timeoutOfABlock = workflow('timeout_of_a_block', async () => {
  const told: string[] = []
  try {
    await timeout(0.2, async () => {
      told.push(await other(ask).run())
    })
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error
    told.push('too late')
  }
  return told
})
