import { now, sleep, workflow } from 'libworkflows'

export const sleepZero = workflow('sleep_zero', async () => {
  const began = now()
  await sleep(0)
  await sleep(-1)
  return now() >= began
})
