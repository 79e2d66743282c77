/** What somebody is told whose code does not fit a history. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { all } from '../src/_combinators'
import { setState, sleep, waitForSignal } from '../src/_workflow'
import { activity, numbers, Story, workflow } from './story'

const reserve = activity('reserve')
const charge = activity('charge')
const ship = activity('ship')

async function begun(): Promise<void> {
  await reserve.run()
  setState('reserved')
}

function parked(story: Story): string {
  assert.equal(story.row.released, 'non_determinism')
  return story.row.parked ?? ''
}

/** A history of reserve, setState, charge, ship, sleep. */
async function recorded(): Promise<Story> {
  const order = workflow(
    async () => {
      await begun()
      await charge.run()
      await all([ship.run(), sleep(60)])
    },
    { name: 'order' },
  )
  return await (await (await Story.of(order)).complete(1)).complete(3)
}

test('both sides are shown with what fitted and what follows', async () => {
  const swapped = workflow(async () => {
    await begun()
    await ship.run()
    await charge.run()
  })
  const told = parked(await (await recorded()).deploy(swapped).complete(4))
  const [first, was, attempted, ...table] = told.split('\n')
  assert.equal(first, "the code of workflow 'order' does not fit its history, at position 5.")
  assert.equal(was, "  at position 5 history recorded: the activity 'charge' (sequence 3)")
  assert.ok(attempted?.startsWith("  at that point the code attempted: the activity 'ship' at "))
  assert.match(attempted ?? '', /mismatch\.test\.ts:\d+$/)
  assert.deepEqual(table.slice(1, 7), [
    '   position  history recorded        the code attempted',
    "          2  the activity 'reserve'  the same",
    '          4  setState                the same',
    "       -> 5  the activity 'charge'   the activity 'ship'",
    "          7  the activity 'ship'",
    "          8  the timer 'sleep'",
  ])
})

test('it says what to do with which workflow', async () => {
  const story = await (await recorded()).deploy(workflow(() => ship.run())).complete(4)
  const told = parked(story)
  assert.ok(told.includes('workflows.getVersion()'))
  assert.ok(told.includes(`workflows retry ${story.row.id}\n`))
  assert.ok(told.includes(`workflows replay -m MODULE --id ${story.row.id}`))
})

test('code that waits is shown with its last call', async () => {
  const waits = workflow(async () => {
    await begun()
    await waitForSignal('go')
  })
  const told = parked(await (await recorded()).deploy(waits).complete(4))
  assert.match(told, /the code attempted: nothing, it waits at .*mismatch\.test\.ts:/)
  assert.ok(told.includes("-> 5  the activity 'charge'   nothing, it waits\n"))
})

test('it is short however long the names are', async () => {
  const long = activity('ä'.repeat(120))
  const old = workflow(
    async () => {
      for (const _ of numbers(3)) await long.run()
      await all([long.run(), long.run(), long.run()])
    },
    { name: 'w'.repeat(250) },
  )
  const changed = workflow(async () => {
    for (const _ of numbers(3)) await long.run()
    await ship.run()
  })
  const story = await Story.of(old)
  for (const sequence of [1, 2, 3]) await story.complete(sequence)
  const told = parked(await story.deploy(changed).complete(4))
  assert.ok(Buffer.byteLength(told) < 2000)
  assert.ok(Math.max(...told.split('\n').map((line) => line.length)) < 200)
})
