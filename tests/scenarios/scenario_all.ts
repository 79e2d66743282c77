/** All scenarios' functions in TypeScript, for one worker and for `workflows replay`. */

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

for (const name of readdirSync(__dirname).sort()) {
  const path = join(__dirname, name, 'workflow.ts')
  if (existsSync(path)) require(path)
}
