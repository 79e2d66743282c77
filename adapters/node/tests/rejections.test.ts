/** Rejections that nobody looks at: a workflow's are logged, others end the process as ever. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

interface Ended {
  readonly code: number
  readonly lines: string[]
  readonly stderr: string
}

function run(how: string, ...flags: string[]): Promise<Ended> {
  const script = join(__dirname, 'rejecting.ts')
  const args = ['--import', 'tsx', ...flags, script, how]
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: 30_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code)
      resolve({ code, lines: stdout.trim().split('\n'), stderr })
    })
  })
}

test('what workflow code rejects and nobody looks at is logged, and the process lives', async () => {
  const { code, lines, stderr } = await run('workflow')
  assert.equal(code, 0, stderr)
  const logged = lines.filter((line) => line.startsWith('log '))
  assert.deepEqual(logged.map((line) => line.replace(/.*looked at it: /, '')).sort(), [
    'ActivityError: no funds',
    'Error: at once',
    'Error: nobody looks at it 0',
    'Error: nobody looks at it 0',
  ])
  for (const line of logged) assert.match(line, /workflow w 018f0000-/)
  assert.deepEqual(lines.slice(-2), ['complete 3', 'alive'])
})

test('what others reject ends the process, as it would without workflows', async () => {
  for (const how of ['other', 'both']) {
    const { code, lines, stderr } = await run(how)
    assert.equal(code, 1)
    assert.match(stderr, /RangeError: of somebody else/)
    assert.ok(!lines.includes('alive'))
  }
})

test('what Node was told to do with rejections it does', async () => {
  const { code, lines, stderr } = await run('other', '--unhandled-rejections=warn')
  assert.equal(code, 0, stderr)
  assert.equal(lines.at(-1), 'alive')
  assert.match(stderr, /of somebody else/)
})
