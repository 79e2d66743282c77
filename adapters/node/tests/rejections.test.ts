/** Promises that are rejected and that nobody looks at: a workflow's, and all others. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

function ended(where: string, ...flags: string[]) {
  const script = join(__dirname, 'rejecting_worker.ts')
  const args = [...flags, '--import', 'tsx', script, where]
  const options = { encoding: 'utf8', cwd: __dirname, timeout: 60_000 } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, args, options)
  return { status, stdout, stderr }
}

test('those of a workflow are logged, and the worker goes on', () => {
  const { status, stdout, stderr } = ended('workflow')
  assert.equal(status, 0, stderr)
  const warned = stdout.split('\n').filter((line) => line.includes('nobody looked at it'))
  for (const what of [
    'RangeError: left at once',
    'RangeError: left later',
    'left by an activity',
  ]) {
    assert.ok(
      warned.some(
        (line) =>
          line.startsWith('warned: a promise in the code of workflow w ') && line.includes(what),
      ),
      `${what} in ${stdout}`,
    )
  }
  assert.match(stdout, /^completed done$/m)
  assert.match(stdout, /^listeners: 0$/m, 'nothing is left behind')
})

for (const [where, who] of [
  ['body', 'job leaves'],
  ['step', 'step leavesStep of workflow calls'],
] as const) {
  test(`that of a body fails its attempt, which is retried: ${where}`, () => {
    const { status, stdout, stderr } = ended(where)
    assert.equal(status, 0, stderr)
    const told = `warned: a promise in the code of ${who} \\S+ was rejected and nobody looked at it`
    assert.match(stdout, new RegExp(`^${told}: RangeError: left by a body; the attempt fails`, 'm'))
    assert.match(stdout, new RegExp(`${who} \\S+ failed in attempt 1: RangeError: left by a body`))
    assert.match(stdout, /^completed done$/m)
  })
}

test('that of a body that is over is only logged', () => {
  const { status, stdout, stderr } = ended('over')
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^completed done$/m)
  assert.match(stdout, /code of job over \S+, which is over, was rejected .*: left behind$/m)
})

test('any other ends the process, as it would without a worker', () => {
  const { status, stdout, stderr } = ended('nobody')
  assert.equal(status, 1, stdout)
  assert.match(stderr, /RangeError: left by nobody/)
  assert.doesNotMatch(stdout, /done/)
  const value = ended('value')
  assert.equal(value.status, 1)
  assert.match(value.stderr, /ERR_UNHANDLED_REJECTION/)
  assert.match(value.stderr, /a word/)
})

test('where the process has a listener of its own, it is that one’s affair', () => {
  const { status, stdout, stderr } = ended('listener')
  assert.equal(status, 0, stderr)
  assert.match(stdout, /mine: left by nobody/)
  assert.match(stdout, /^completed done$/m)
})

test('what Node was told to do with them is done', () => {
  const warned = ended('nobody', '--unhandled-rejections=warn')
  assert.equal(warned.status, 0, warned.stderr)
  assert.match(warned.stderr, /left by nobody/)
  const nothing = ended('nobody', '--unhandled-rejections=none')
  assert.deepEqual([nothing.status, nothing.stderr], [0, ''])
  assert.equal(ended('nobody', '--unhandled-rejections=warn-with-error-code').status, 1)
})
