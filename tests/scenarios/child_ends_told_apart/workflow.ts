import { ChildCancelled, ChildFailed, ChildTimeout, sleep, workflow } from 'libworkflows'
import { other } from '../scenario'

class NotThere extends Error {}

const fails = workflow('child_ends_told_apart.fails', async () => {
  throw new NotThere('nobody at home')
})

const sleeps = workflow('child_ends_told_apart.sleeps', () => sleep('1h'))

export const childEndsToldApart = workflow('child_ends_told_apart', async () => {
  const told: string[][] = []
  for (const child of [other(fails), other(sleeps).options({ timeout: 1 }), other(sleeps)]) {
    try {
      await child.run()
    } catch (error) {
      if (error instanceof ChildFailed) told.push(['failed', error.type, error.message])
      else if (error instanceof ChildTimeout) told.push(['timed out', error.type])
      else if (error instanceof ChildCancelled) told.push(['cancelled', error.type, error.message])
      else told.push(['otherwise'])
    }
  }
  return told
})
