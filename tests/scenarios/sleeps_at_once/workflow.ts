import { all, now, sleep, workflow } from 'libworkflows'

export const sleepsAtOnce = workflow('sleeps_at_once', async () => {
  const began = now().getTime()
  await all([sleep(0.6), sleep(0.2), sleep(0.4)])
  const slept = now().getTime() - began
  return slept >= 600 && slept < 1200
})
