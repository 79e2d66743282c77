import { activity, asCompleted, workflow } from 'libworkflows'
import { gate, other } from '../scenario'

const fetch = activity('as_they_complete.fetch', async (name: string) => {
  await gate(name)
  return name
})

export const asTheyComplete = workflow('as_they_complete', async () => {
  const told: string[] = []
  for await (const end of asCompleted(['a', 'b', 'c'].map((name) => other(fetch).run(name)))) {
    if (end.status === 'fulfilled') told.push(end.value)
  }
  return told
})
