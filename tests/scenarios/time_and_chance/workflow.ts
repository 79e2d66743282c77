import { now, random, sleep, uuid4, waitForSignal, workflow } from 'libworkflows'

export const timeAndChance = workflow('time_and_chance', async () => {
  const [first, chance, began] = [uuid4(), random(), now()]
  await sleep(0.05)
  const known = await waitForSignal<string>('word')
  return [
    known,
    first !== uuid4(),
    first[14] === '4',
    chance >= 0 && chance < 1,
    chance !== random(),
    now() > began,
  ]
})
