/** The version of this package, and what goes with it. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const manifest = JSON.parse(readFileSync(join(__dirname, '..', 'package.json'), 'utf8'))

/** The version of this package, as npm knows it. */
export const VERSION: string = manifest.version

/** The packages that bring the shared library along, one a platform. */
export const PACKAGES: readonly string[] = Object.keys(manifest.optionalDependencies)
