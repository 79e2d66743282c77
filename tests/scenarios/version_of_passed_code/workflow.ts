import { activity, getVersion, workflow } from 'libworkflows'
import { deployed, other } from '../scenario'

class RuntimeError extends Error {}

const charge = activity(
  'version_of_passed_code.charge',
  async (cents: number) => `charged ${cents}`,
)

const ship = activity({ name: 'version_of_passed_code.ship', retries: 0 }, async () => {
  if (!deployed('tax')) throw new RuntimeError('not yet')
  return 'shipped'
})

export const versionOfPassedCode = workflow('version_of_passed_code', async () => {
  const version = deployed('tax') ? getVersion('tax', 1, 2) : 1
  const charged = await other(charge).run(version === 1 ? 100 : 119)
  return [charged, await other(ship).run()]
})
