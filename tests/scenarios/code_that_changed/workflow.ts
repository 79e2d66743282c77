import { activity, workflow } from 'libworkflows'
import { deployed, other } from '../scenario'

class RuntimeError extends Error {}

const charge = activity('code_that_changed.charge', async () => 'charged')

const pack = activity('code_that_changed.pack', async () => 'packed')

const ship = activity({ name: 'code_that_changed.ship', retries: 0 }, async () => {
  if (!deployed('swapped')) throw new RuntimeError('not yet')
  return 'shipped'
})

export const codeThatChanged = workflow('code_that_changed', async () => {
  const functions = [charge, pack]
  if (deployed('swapped') && !deployed('as before')) functions.reverse()
  const done: string[] = []
  for (const fn of [...functions, ship]) done.push(await other(fn).run())
  return done
})
