import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FORKED, findLibrary, howToGetIt, Library } from '../src/_library'
import { ABI_VERSION, DIGEST } from '../src/_operations'
import { ADAPTER, compiled, host, scratch, well } from './hosts'

const directory = scratch()

function fake(name: string, abi: number, operations: string): string {
  const info = JSON.stringify(JSON.stringify({ version: '9.9', commit: 'c', operations }))
  return compiled(
    directory,
    name,
    `unsigned wf_abi_version(void) { return ${abi}; }
     const char *wf_build_info(void) { return ${info}; }`,
  )
}

test('the library is there once in a thread', () => {
  assert.equal(Library.get(), Library.get())
  assert.equal(Library.get().buildInfo.operations, DIGEST)
})

test('a path that leads nowhere is named, with the variable that has it', (t) => {
  const before = process.env.WORKFLOWS_LIBRARY
  t.after(() => {
    if (before === undefined) delete process.env.WORKFLOWS_LIBRARY
    else process.env.WORKFLOWS_LIBRARY = before
  })
  process.env.WORKFLOWS_LIBRARY = join(directory, 'nothing.so')
  assert.throws(() => findLibrary(), {
    name: 'LibraryNotFound',
    code: 'invalid_config',
    message: /^WORKFLOWS_LIBRARY names .*nothing\.so, which is not there$/,
  })
})

test('a file that is no library, and one that is another library, are told apart', () => {
  const text = join(directory, 'text.so')
  writeFileSync(text, 'not ELF')
  assert.throws(() => new Library(text), {
    name: 'LibraryNotFound',
    message: /text\.so cannot be loaded: .*Install the package @libworkflows\//,
  })
  const other = compiled(directory, 'other', 'int wf_other(void) { return 1; }')
  assert.throws(() => new Library(other), {
    name: 'LibraryMismatch',
    message: /other\.so is not the library of libworkflows/,
  })
})

test('a library of another interface, or with other operations, is refused by name', () => {
  assert.throws(() => new Library(fake('abi', ABI_VERSION + 1, DIGEST)), {
    name: 'LibraryMismatch',
    message: new RegExp(`version ${ABI_VERSION + 1} of the C interface, .* needs ${ABI_VERSION}`),
  })
  assert.throws(() => new Library(fake('digest', ABI_VERSION, 'feedbeef')), {
    name: 'LibraryMismatch',
    message: new RegExp(`version 9\\.9.* operations feedbeef, .* from ${DIGEST}.*make build`, 's'),
  })
})

test('without a library anywhere the error says how to get one', async () => {
  // As installed: neither a repository around it nor a package for the platform beside it.
  const installed = join(directory, 'app/node_modules/libworkflows')
  mkdirSync(installed, { recursive: true })
  const ended = await host(
    `const { cpSync } = require('node:fs')
     cpSync('src', ${JSON.stringify(join(installed, 'src'))}, { recursive: true })
     cpSync('package.json', ${JSON.stringify(join(installed, 'package.json'))})
     const { findLibrary } = require(${JSON.stringify(join(installed, 'src/_library'))})
     findLibrary()`,
    { WORKFLOWS_LIBRARY: undefined },
  ).ended
  assert.match(
    ended.stdout,
    /^LibraryNotFound: libworkflows\.so was not found\. Install the package/,
  )
})

test('where no package brings the library along, none is recommended', () => {
  assert.match(howToGetIt('linux-x64', false), /^Install the package @libworkflows\/linux-x64, /)
  for (const [platform, musl, name] of [
    ['plan9-mips', false, 'plan9-mips'],
    ['linux-x64', true, 'linux-x64 with musl'],
  ] as const) {
    const said = howToGetIt(platform, musl)
    assert.ok(said.startsWith(`No package brings it along for ${name}. Build it with \`make`), said)
  }
})

test('each package with the library is of the version and the platform that it says', () => {
  const { version, optionalDependencies } = require('../package.json')
  const packages = readdirSync(join(ADAPTER, 'platforms')).sort()
  assert.deepEqual(
    Object.keys(optionalDependencies).sort(),
    packages.map((name) => `@libworkflows/${name}`),
  )
  for (const name of packages) {
    const about = require(join(ADAPTER, 'platforms', name, 'package.json'))
    assert.equal(`${about.os}-${about.cpu}`, name)
    assert.deepEqual([about.version, optionalDependencies[about.name]], [version, version])
  }
})

test('importing the package loads neither the library nor koffi', async () => {
  const ended = await host(
    `require('./src/index')
     const { readFileSync } = require('node:fs')
     const maps = readFileSync('/proc/self/maps', 'utf8')
     console.log(/libworkflows|koffi/.test(maps))`,
  ).ended
  assert.equal(well(ended).stdout, 'false\n')
})

test('a code that nobody knows is an internal error, and each other one an error of its own', () => {
  const library = Library.get()
  const names = [-2, -3, -4, -5, -6, -7, -8, -99].map((code) => library.failure(code).name)
  assert.deepEqual(names, [
    ...['Busy', 'Closed', 'InvalidHandle', 'InvalidRequest', 'Forked', 'Timeout'],
    ...['Internal', 'Internal'],
  ])
  assert.throws(() => library.channelOpen(12345), { name: 'InvalidHandle' })
  assert.match(library.failure(FORKED).message, /does not survive fork\(\)/)
})

test('in a child made by fork() every call is refused at once', async () => {
  // Node never forks without exec, but an addon may, and JavaScript cannot run in its child.
  const addon = compiled(
    directory,
    'forks',
    `#include <dlfcn.h>
     #include <stdint.h>
     #include <sys/wait.h>
     #include <unistd.h>
     int code_in_child(const char *library) {
       int (*open)(uint64_t, uint64_t *) = dlsym(dlopen(library, RTLD_NOW), "wf_channel_open");
       uint64_t channel;
       int status = 0;
       pid_t child = fork();
       if (child == 0) { alarm(5); _exit(-open(1, &channel)); }
       waitpid(child, &status, 0);
       return WIFEXITED(status) ? -WEXITSTATUS(status) : 1;
     }`,
  )
  const ended = await host(
    `const koffi = require('koffi')
     const { path } = Library.get()
     const inChild = koffi.load(${JSON.stringify(addon)}).func('int code_in_child(const char *)')
     console.log(Library.get().failure(inChild(path)).name)`,
  ).ended
  assert.equal(well(ended).stdout, 'Forked\n')
})
