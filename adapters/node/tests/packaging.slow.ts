/** What npm packs can be installed where nothing of the repository is, and works there. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ADAPTER, ROOT, scratch } from './hosts'

const PLATFORM = join(ADAPTER, 'platforms', `${process.platform}-${process.arch}`)
const directory = scratch()
const environment: NodeJS.ProcessEnv = { ...process.env, npm_config_loglevel: 'error' }
delete environment.WORKFLOWS_LIBRARY
delete environment.WORKFLOWS_DATABASE_URL

function run(command: string, args: readonly string[], cwd = directory): string {
  return execFileSync(command, args, { cwd, env: environment, encoding: 'utf8', timeout: 120_000 })
}

function pack(at: string): string {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', directory], at))
  return join(directory, packed.filename)
}

const TSC = join(ROOT, 'node_modules/.bin/tsc')
const STRICT = ['--ignoreConfig', '--strict', '--module', 'nodenext', '--target', 'es2022']
const TYPES = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
const LIBS = ['--lib', 'es2023,esnext.disposable']

test('the packages install into an empty project and run the quick start and the command', () => {
  assert.ok(existsSync(join(PLATFORM, 'libworkflows.so')), 'run `make build` first')
  writeFileSync(join(directory, 'package.json'), '{"name": "app", "version": "1.0.0"}')
  const tarballs = [pack(PLATFORM), pack(ADAPTER)]
  const { version } = JSON.parse(
    readFileSync(join(ROOT, 'node_modules/koffi/package.json'), 'utf8'),
  )
  run('npm', [
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    ...tarballs,
    `koffi@${version}`,
  ])
  for (const name of ['libworkflows.so', 'LICENSE', 'THIRD_PARTY_LICENSES']) {
    assert.ok(existsSync(join(directory, 'node_modules/@libworkflows/linux-x64', name)), name)
  }
  assert.ok(existsSync(join(directory, 'node_modules/libworkflows/LICENSE')))
  assert.ok(!existsSync(join(directory, 'node_modules/libworkflows/dist/.tsbuildinfo')))

  for (const kind of ['m', 'c']) {
    copyFileSync(join(ROOT, 'examples/node/quickstart.ts'), join(directory, `quick.${kind}ts`))
    run(TSC, [...STRICT, ...LIBS, ...TYPES, `quick.${kind}ts`])
    assert.equal(run(process.execPath, [`quick.${kind}js`]), 'Hello, Ada! How do you do?\n')
  }

  const told = run('npx', ['--offline', 'workflows', '--version'])
  assert.match(
    told,
    /^workflows [\s\S]*node_modules\/@libworkflows\/linux-x64\/libworkflows\.so\n$/,
  )
})

test('its types are there for TypeScript, in ES modules and in CommonJS', () => {
  const use = `import { job } from 'libworkflows'
const add = job('add', async (a: number, b: number) => a + b)
export const sum: Promise<number> = add.run(1, 2)
// @ts-expect-error: it takes numbers
add.run('1', 2)
`
  for (const name of ['use.mts', 'use.cts']) writeFileSync(join(directory, name), use)
  run(TSC, [...STRICT, ...TYPES, '--noEmit', 'use.mts', 'use.cts'])
})
