import { all, sleep, workflow } from 'libworkflows'

export const gatherOfNothing = workflow('gather_of_nothing', async () => {
  const nothing = await all([])
  await sleep(0)
  return [nothing]
})
