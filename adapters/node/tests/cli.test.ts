import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from '../src/_client'
import { VERSION } from '../src/_version'
import { ADAPTER, type Ended, scratch, start, well } from './hosts'
import { until } from './rig'

const directory = scratch()
const URL = `embedded:${join(directory, 'database')}`
const INDEX = JSON.stringify(join(ADAPTER, 'src/index'))
const client = new Client({ url: URL })

before(async () => void (await client.migrate()))
after(async () => await client.close())

const NOBODYS = { kind: 'job', name: 'nobody_has_it', queue: 'nobody' } as const
const TSX = ['--import', require.resolve('tsx')]
const COMMAND = join(ADAPTER, 'src/_cli.ts')

function workflows(...args: string[]) {
  return start([...TSX, COMMAND, ...args], { WORKFLOWS_DATABASE_URL: URL }, directory)
}

async function ended(...args: string[]): Promise<Ended> {
  return await workflows(...args).ended
}

function module(name: string, text: string): string {
  writeFileSync(join(directory, name), text)
  return name
}

test('--version tells the package and the library', async () => {
  const { stdout } = well(await ended('--version'))
  assert.match(stdout, new RegExp(`^workflows ${VERSION} \\(Node \\d+\\.\\d+\\.\\d+\\)\nlibrary `))
})

test('the commands of the library run in this process, with their exit codes', async () => {
  const [created] = await client.create([NOBODYS])
  const listed = JSON.parse(well(await ended('list', '--json')).stdout)
  assert.equal(listed.executions[0].id, created?.id)
  const unknown = await ended('bogus')
  assert.equal(unknown.status, 2)
  assert.match(unknown.stderr, /"bogus" is no command/)
  const nowhere = await ended('list', '--database-url', 'postgres://u@127.0.0.1:1/x')
  assert.equal(nowhere.status, 1)
})

test('a worker serves the modules that are named, and SIGTERM lets it end', async () => {
  const file = module(
    'jobs.cjs',
    `const { job } = require(${INDEX})
     exports.hello = job('hello_cli', async (name) => 'hello ' + name)`,
  )
  const child = workflows('worker', '-m', file, '-q', 'default', '--concurrency', '3')
  const job = { kind: 'job', name: 'hello_cli', args: ['you'] } as const
  const [created] = await client.create([job])
  const found = await client.wait(created?.id as string, { timeout: 20 })
  assert.equal(found.result, 'hello you')
  child.kill('SIGTERM')
  const { stderr } = well(await child.ended)
  assert.match(stderr, /INFO worker \S+ serves queue default, 3 at a time, with job hello_cli/)
})

test('modules are files with or without their ending, directories and packages', async () => {
  const said = "console.log('loaded ' + __filename.split('/').at(-1))"
  module('one.cjs', said)
  mkdirSync(join(directory, 'node_modules/two'), { recursive: true })
  module('node_modules/two/index.js', said.replace('.at(-1)', '.at(-2)'))
  module('three.mjs', "console.log('loaded three'); throw new Error('three is broken')")
  const { status, stdout, stderr } = await ended(
    'worker',
    '-m',
    'one',
    '-m',
    'two',
    '-m',
    './three',
  )
  assert.equal(status, 2)
  assert.equal(stdout, 'loaded one.cjs\nloaded two\nloaded three\n')
  assert.match(stderr, /three is broken[\s\S]*error: the module '\.\/three' could not be imported/)
})

const WRONG: readonly [string[], RegExp][] = [
  [['worker'], /-m MODULE is required/],
  [['worker', '-m', 'nowhere'], /error: there is no module 'nowhere' in /],
  [['worker', '-m', 'x', '--concurrency', '0'], /must be 1 or more, not '0'/],
  [['worker', '-m', 'x', '--concurency', '1'], /--concurency/],
  [['replay'], /-m MODULE is required/],
]

for (const [args, message] of WRONG) {
  test(`\`workflows ${args.join(' ')}\` is a wrong command line`, async () => {
    const { status, stdout, stderr } = await ended(...args)
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, message)
  })
}

test('Ctrl-C ends a command of the library that waits', async () => {
  const [created] = await client.create([NOBODYS])
  const child = workflows('result', created?.id as string)
  const maps = `/proc/${child.pid}/maps`
  await until(() => readFileSync(maps, 'utf8').includes('libworkflows.so'), 'it loads the library')
  child.kill('SIGINT')
  const { signal } = await child.ended
  assert.equal(signal, 'SIGINT')
})
