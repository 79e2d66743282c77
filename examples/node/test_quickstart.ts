/** A test of the workflow beside it: no database, and no two seconds. Run it with node --test. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WorkflowEnvironment } from 'libworkflows/testing'
import { greet, welcome } from './quickstart'

test('the welcome', async () => {
  await using env = await WorkflowEnvironment.open()
  env.replace(greet, { returns: 'Good evening.' })
  assert.equal(await env.run(welcome, 'Ada'), 'Good evening. How do you do?')
})
