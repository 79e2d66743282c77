import { activity, all, StepError, step, workflow } from 'libworkflows'
import { gate, note, other } from '../scenario'

class Full extends Error {}

const slow = activity('steps.slow', async () => {
  await gate('slow')
  return 'slow'
})

const quick = step({ name: 'steps.quick', retries: 2, initial: 0.01 }, async () => {
  if (note('quick') < 2) throw new Full('try again')
  return 'quick'
})

const broken = step({ name: 'steps.broken', retries: 1, initial: 0.01 }, async () => {
  note('broken')
  throw new Full('for good')
})

export const steps = workflow('steps', async () => {
  const both = await all([other(slow).run(), quick.run()])
  try {
    await broken.run()
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    return [...both, error.type, error.message, error.attempts]
  }
  return []
})
