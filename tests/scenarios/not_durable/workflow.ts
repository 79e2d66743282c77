import { sleep, workflow } from 'libworkflows'

export const notDurable = workflow('not_durable', async () => {
  await sleep(0)
  await new Promise(() => {})
})
