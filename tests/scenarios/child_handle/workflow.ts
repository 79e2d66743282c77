import { TimeoutError, waitForSignal, workflow } from 'libworkflows'
import { other } from '../scenario'

const child = workflow('child_handle.child', () => waitForSignal<string>('word'))

export const childHandle = workflow('child_handle', async () => {
  const handle = await other(child).queue()
  const told: string[] = []
  try {
    await handle.result({ timeout: 0.1 })
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error
    told.push('not yet')
  }
  await handle.signal('word', 'hello')
  return [...told, await handle.result(), await handle.result()]
})
