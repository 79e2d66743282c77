import { sleep, TimeoutError, timeout, workflow } from 'libworkflows'

export const timeoutWithinTimeout = workflow('timeout_within_timeout', async () => {
  const told: string[] = []
  await timeout('1h', async () => {
    try {
      await timeout(0.1, () => sleep('2h'))
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error
      told.push('inner')
    }
    await sleep(0)
    told.push('outer goes on')
  })
  return told
})
