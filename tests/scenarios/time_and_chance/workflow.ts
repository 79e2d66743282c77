import { now, random, sleep, uuid4, waitForSignal, workflow } from 'libworkflows'

export const timeAndChance = workflow('time_and_chance', async () => {
  const [first, chance, began] = [uuid4(), random(), now()]
  await sleep(0.05)
  const told = [
    await waitForSignal<string>('word'),
    first !== uuid4(),
    first[14] === '4',
    chance >= 0 && chance < 1,
    chance !== random(),
    now() > began,
  ]
  const byChance = [first, uuid4(), chance, random(), now().toISOString().slice(0, 23)]
  return { told, 'by chance': byChance }
})
