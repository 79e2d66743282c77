import { activity, step, workflow } from 'libworkflows'
import { other } from '../scenario'

const silent = activity('nothing_is_null.silent', async (_first: unknown, _second?: unknown) => {})

const quiet = step('nothing_is_null.quiet', async () => {})

const child = workflow('nothing_is_null.child', async () => {})

export const nothingIsNull = workflow('nothing_is_null', async () => [
  await other(silent).run(null),
  await quiet.run(),
  await other(child).run(),
])
