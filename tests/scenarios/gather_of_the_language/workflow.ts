import { activity, workflow } from 'libworkflows'
import { other } from '../scenario'

const square = activity('gather_of_the_language.square', async (n: number) => n * n)

export const gatherOfTheLanguage = workflow('gather_of_the_language', async () =>
  Promise.all([0, 1, 2].map((n) => other(square).run(n))),
)
