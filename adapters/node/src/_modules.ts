/** Loading the modules that a command names, for what they define. */

import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const ENDINGS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts']

/**
 * Loads modules, CommonJS or ES, one after another, and answers whether all could be loaded.
 *
 * What is wrong goes to stderr. TypeScript can be loaded where Node can: with `--import tsx` in
 * NODE_OPTIONS, say.
 *
 * @param modules Files, or packages, as seen from the working directory.
 */
export async function loadModules(modules: readonly string[]): Promise<boolean> {
  for (const module of modules) {
    const path = find(module)
    if (path === undefined) {
      process.stderr.write(`error: there is no module '${module}' in ${process.cwd()}\n`)
      return false
    }
    try {
      await import(pathToFileURL(path).href)
    } catch (error) {
      const told = error instanceof Error ? error.stack : String(error)
      process.stderr.write(`${told}\nerror: the module '${module}' could not be imported\n`)
      return false
    }
  }
  return true
}

function find(module: string): string | undefined {
  const file = resolve(module)
  const named = ['', ...ENDINGS].map((ending) => file + ending)
  const indices = ENDINGS.map((ending) => join(file, `index${ending}`))
  return [...named, ...indices].find(isFile) ?? findPackage(module)
}

function findPackage(name: string): string | undefined {
  if (/^[./]/.test(name)) return undefined
  try {
    return createRequire(resolve('x.js')).resolve(name)
  } catch {
    return undefined
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
