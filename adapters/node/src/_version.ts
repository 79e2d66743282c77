/** The version of this package. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The version of this package, as npm knows it. */
export const VERSION: string = JSON.parse(
  readFileSync(join(__dirname, '..', 'package.json'), 'utf8'),
).version
