import { race, sleep, waitForSignal, workflow } from 'libworkflows'

export const raceWithinRace = workflow('race_within_race', async () =>
  race({
    inner: () => race({ word: waitForSignal('word', { timeout: '2h' }), day: sleep('1h') }),
    stop: waitForSignal<string>('stop'),
  }),
)
