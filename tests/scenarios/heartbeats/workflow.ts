import { activity, heartbeat, lastHeartbeat, workflow } from 'libworkflows'
import { other } from '../scenario'

const copy = activity({ name: 'heartbeats.copy', retries: 1, initial: 0.01 }, async () => {
  const done = lastHeartbeat()
  if (done === null) {
    heartbeat({ done: 3 })
    throw new Error('lost')
  }
  return [done, lastHeartbeat()]
})

export const heartbeats = workflow('heartbeats', () => other(copy).run())
