import { ActivityError, activity, PayloadError, workflow } from 'libworkflows'
import { note, other } from '../scenario'

const answer = activity({ name: 'payload_refused.answer', retries: 2, initial: 0.01 }, async () => {
  note('answered')
  return { a: [1, Number.NaN] }
})

const take = activity('payload_refused.take', async (_value: unknown) => {})

export const payloadRefused = workflow('payload_refused', async () => {
  const told: unknown[] = []
  try {
    await other(answer).run()
  } catch (error) {
    if (!(error instanceof ActivityError)) throw error
    told.push([error.type, error.message.split(':')[0], error.attempts])
  }
  for (const value of [Number.POSITIVE_INFINITY, { a: [Number.NEGATIVE_INFINITY] }]) {
    try {
      await other(take).run(value)
    } catch (error) {
      if (!(error instanceof PayloadError)) throw error
      told.push(`not sent: ${error.path.slice(error.path.indexOf(']') + 1)}`)
    }
  }
  return told
})
