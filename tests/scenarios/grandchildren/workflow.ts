import { activity, all, type Fn, workflow } from 'libworkflows'
import { other } from '../scenario'

const leaf = activity('grandchildren.leaf', async (n: number) => n)

export const grandchildren: Fn<[number], number> = workflow(
  'grandchildren',
  async (depth: number): Promise<number> => {
    if (depth === 0) return other(leaf).run(1)
    const below = other(grandchildren)
    const [left, right] = await all([below.run(depth - 1), below.run(depth - 1)])
    return left + right
  },
)
