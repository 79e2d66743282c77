import { sleep, workflow } from 'libworkflows'

export const resultTooLarge = workflow('result_too_large', async () => {
  await sleep(0)
  return 'a'.repeat(2_000_000)
})
