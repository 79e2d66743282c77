import { activity, all, workflow } from 'libworkflows'
import { other } from '../scenario'

const square = activity('gather_of_many.square', async (n: number) => n * n)

export const gatherOfMany = workflow('gather_of_many', async () => {
  const numbers = Array.from({ length: 20 }, (_, n) => n)
  const squares = await all(numbers.map((n) => other(square).run(n)))
  return squares.reduce((sum, each) => sum + each, 0)
})
