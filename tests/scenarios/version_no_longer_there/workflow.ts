import { activity, getVersion, workflow } from 'libworkflows'
import { deployed, other } from '../scenario'

class RuntimeError extends Error {}

const ship = activity({ name: 'version_no_longer_there.ship', retries: 0 }, async () => {
  throw new RuntimeError('not yet')
})

export const versionNoLongerThere = workflow('version_no_longer_there', async () => {
  const version = deployed('later') ? getVersion('tax', 3, 4) : getVersion('tax', 1, 2)
  await other(ship).run()
  return version
})
