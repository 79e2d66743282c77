/**
 * A test of the workflow, from a module without main(): no database, and no two seconds. Run it with
 * node --test.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WorkflowEnvironment } from 'libworkflows/testing'
import { greet, welcome } from './welcome'

test('the welcome', async () => {
  await using env = await WorkflowEnvironment.open()
  env.replace(greet, { returns: 'Good evening.' })
  assert.equal(await env.run(welcome, 'Ada'), 'Good evening. How do you do?')
})
