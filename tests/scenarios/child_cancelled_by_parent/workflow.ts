import { activity, ChildCancelled, sleep, waitForSignal, workflow } from 'libworkflows'
import { note, other } from '../scenario'

const undo = activity('child_cancelled_by_parent.undo', async () => note('undone'))

const child = workflow('child_cancelled_by_parent.child', async () => {
  try {
    await sleep('1h')
  } finally {
    await other(undo).run()
  }
})

export const childCancelledByParent = workflow('child_cancelled_by_parent', async () => {
  const handle = await other(child).queue()
  await waitForSignal('enough')
  const told: unknown[] = [await handle.cancel(), await handle.cancel()]
  try {
    await handle.result()
  } catch (error) {
    if (!(error instanceof ChildCancelled)) throw error
    told.push(error.message)
  }
  return [...told, await waitForSignal<string>('word')]
})
