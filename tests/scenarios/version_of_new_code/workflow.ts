import { getVersion, sleep, workflow } from 'libworkflows'

export const versionOfNewCode = workflow('version_of_new_code', async () => {
  const versions = [getVersion('tax', 1, 2)]
  for (let n = 0; n < 2; n++) {
    await sleep(0)
    versions.push(getVersion('tax', 1, 3))
  }
  versions.push(getVersion('discount', 1, 1))
  return versions
})
