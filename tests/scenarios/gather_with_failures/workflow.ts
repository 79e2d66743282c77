import { ActivityError, activity, allSettled, workflow } from 'libworkflows'
import { other } from '../scenario'

class Odd extends Error {}

const half = activity({ name: 'gather_with_failures.half', retries: 0 }, async (n: number) => {
  if (n % 2) throw new Odd(String(n))
  return n / 2
})

export const gatherWithFailures = workflow('gather_with_failures', async () => {
  const results = await allSettled([0, 1, 2, 3].map((n) => other(half).run(n)))
  return results.map((each) => {
    if (each.status === 'fulfilled') return each.value
    const error = each.reason
    return error instanceof ActivityError ? [error.type, error.message] : String(error)
  })
})
