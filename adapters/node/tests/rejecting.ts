/**
 * A process in which promises are rejected and nobody looks at them: in the code of a workflow
 * (`workflow`), in another's (`other`), or in both in this order (`both`).
 */

import { setImmediate } from 'node:timers/promises'
import { setLogger } from '../src/_log'
import { bearRejections } from '../src/_process'
import { Replay } from '../src/_replay'
import { activity, workflow } from './story'

const a = activity('r.a')
const say = (line: string) => process.stdout.write(`${line}\n`)
const at = '2026-01-01T00:00:00Z'

const w = workflow(async () => {
  const branch = async (depth: number): Promise<void> => {
    await null
    if (depth > 0) return await branch(depth - 1)
    throw new Error(`nobody looks at it ${depth}`)
  }
  const later = [branch(0), branch(3), a.run(1).then(() => {})]
  void Promise.reject(new Error('at once'))
  await a.run(2)
  return (await Promise.allSettled(later)).length
})

async function replayed(): Promise<void> {
  const id = '018f0000-0000-7000-8000-000000000001'
  const claimed: any = { kind: 'workflow', id, run: 1, name: 'w' }
  const replay = new Replay(claimed, w.definition)
  const error = { type: 'E', message: 'no funds' }
  const scheduled = (position: number, sequence: number) =>
    ({ position, sequence, at, type: 'activity_scheduled', name: 'r.a' }) as const
  await replay.feed([{ position: 1, at, type: 'started' }])
  await setImmediate()
  await replay.feed([
    scheduled(2, 1),
    scheduled(3, 2),
    { position: 4, sequence: 1, at, type: 'activity_failed', payload: { error } },
  ])
  await setImmediate()
  await replay.feed([{ position: 5, sequence: 2, at, type: 'activity_completed' }])
  say(`${replay.turn().then} ${replay.turn().result}`)
}

async function main(): Promise<void> {
  const write = (message: string) => say(`log ${message}`)
  setLogger({ debug: write, info: write, warn: write, error: write })
  const undo = bearRejections()
  const [, , how] = process.argv
  if (how !== 'other') await replayed()
  if (how !== 'workflow') {
    void Promise.reject(new RangeError('of somebody else'))
    await setImmediate()
  }
  say('alive')
  undo()
}

void main()
