/** Programs in processes of their own, which load the library there. */

import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export const ADAPTER = resolve(__dirname, '..')
export const ROOT = resolve(ADAPTER, '../..')
/** No execution has it. */
export const NOBODY = '0191d5c0-0000-7000-8000-000000000000'

/** How a program ended. */
export interface Ended {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** From the line "leaving" on stdout to the end of the process, in milliseconds. */
  readonly leftAfter: number
}

/** A directory that goes when the tests of the file are done. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'workflows-node-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Runs TypeScript, given what it may import from src/ as `engine` and `Operation`. */
export function host(
  body: string,
  env: Record<string, string | undefined> = {},
): ChildProcess & { readonly ended: Promise<Ended> } {
  const source = `
    const { Engine } = require('./src/_engine')
    const { Operation } = require('./src/_operations')
    const { Library } = require('./src/_library')
    const NOBODY = '${NOBODY}'
    const leave = (status) => { console.log('leaving'); process.exit(status) }
    async function main() { ${body} }
    main().catch((error) => { console.log(error.name + ': ' + error.message); process.exitCode = 9 })`
  return start(['--import', 'tsx', '--eval', source], env)
}

/** Runs Node with arguments, for at most half a minute. */
export function start(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
  cwd = ADAPTER,
): ChildProcess & { readonly ended: Promise<Ended> } {
  const complete = { ...process.env, ...env }
  for (const name in complete) if (complete[name] === undefined) delete complete[name]
  const child = spawn(process.execPath, args, { cwd, env: complete, timeout: 30_000 })
  return Object.assign(child, { ended: end(child) })
}

async function end(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  let leaving = performance.now()
  child.stdout?.on('data', (text) => {
    stdout += text
    if (stdout.includes('leaving')) leaving = performance.now()
  })
  child.stderr?.on('data', (text) => {
    stderr += text
  })
  return new Promise((done) => {
    child.on('close', (status, signal) => {
      done({ status, signal, stdout, stderr, leftAfter: performance.now() - leaving })
    })
  })
}

/** Compiles C to a shared library, and answers its path. */
export function compiled(directory: string, name: string, source: string): string {
  const path = join(directory, `${name}.so`)
  writeFileSync(join(directory, `${name}.c`), source)
  execFileSync('cc', ['-shared', '-fPIC', '-o', path, join(directory, `${name}.c`)])
  return path
}

/** Asserts that a program ended well, and shows what it said if not. */
export function well(ended: Ended): Ended {
  assert.equal(ended.status, 0, `${ended.stdout}\n${ended.stderr}`)
  return ended
}
