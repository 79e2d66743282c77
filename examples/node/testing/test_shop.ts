/** Tests of the workflows beside it. Run it with node --test. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WorkflowEnvironment } from 'libworkflows/testing'
import { BankBusy, charge, greeting, order } from './shop'

test('a month takes no time', async () => {
  await using env = await WorkflowEnvironment.open()
  assert.equal(await env.run(greeting, 'Ada'), 'Hello, Ada!')
  assert.equal(env.elapsed, 30 * 86_400)
})

test('a bank that is busy twice, and an approval that comes late', async () => {
  await using env = await WorkflowEnvironment.open()
  env.replace(charge, { outcomes: [BankBusy, new BankBusy('still'), { number: 'r-1' }] })
  const handle = env.start(order, '4242', ['book'])
  handle.signal('approved', true, { after: '2d' })
  assert.equal(await handle.result(), 'r-1')
  assert.equal(env.calls(charge)[0]?.attempts, 3)
})

test('an approval that nobody gives', async () => {
  await using env = await WorkflowEnvironment.open()
  await assert.rejects(env.run(order, '4242', ['book']), { type: 'SignalTimeout' })
  assert.equal(env.elapsed, 3 * 86_400)
})

test('the worker dies while the card is charged', async () => {
  await using env = await WorkflowEnvironment.open()
  const handle = env.start(order, '4242', ['book'])
  handle.signal('approved', true)
  env.crash({ afterEvents: 5 })
  assert.equal(await handle.result(), '4242 100')
})
