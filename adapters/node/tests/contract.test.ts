/**
 * The engine in memory behaves as the library does: the same scenarios in both worlds.
 *
 * A scenario talks to an engine as an adapter would. What it observes, and what can be seen of all
 * executions afterwards, has to be the same on PostgreSQL and in memory.
 */

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Engine } from '../src/_engine'
import { Operation } from '../src/_operations'
import './contract_jobs'
import './contract_runs'
import './contract_workflows'
import { type Below, Library, Memory, SCENARIOS, type Scenario, World } from './contract_worlds'

describe('the engine in memory agrees with the library', () => {
  let directory = ''
  let first: Engine

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'contract-'))
    first = Engine.shared(`embedded:${directory}`) // keeps PostgreSQL up until the end
    await first.call(Operation.MIGRATE, { direction: 'up' })
  })

  after(async () => {
    await first.close()
    await rm(directory, { recursive: true, force: true })
  })

  for (const [name, { play, maxHistory }] of SCENARIOS) {
    test(name, { timeout: 60_000 }, async () => {
      const bound = maxHistory === undefined ? {} : { max_history: maxHistory }
      const engine = Engine.shared(`embedded:${directory}`, bound)
      try {
        const memory = await played(play, new Memory(maxHistory))
        const library = await played(play, new Library(engine))
        assert.deepEqual(memory, library)
      } finally {
        await engine.close()
      }
    })
  }
})

async function played(play: Scenario, below: Below): Promise<unknown> {
  const world = new World(below)
  const seen = await play(world)
  const told = [seen, await world.story()]
  if (world.workerId) {
    await world.call(Operation.STOP_WORKER, { worker_id: world.workerId })
  }
  return told
}
