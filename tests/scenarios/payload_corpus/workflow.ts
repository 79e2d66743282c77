import { activity, workflow } from 'libworkflows'
import { other } from '../scenario'

const echo = activity('payload_corpus.echo', async (value: unknown) => value)

export const payloadCorpus = workflow('payload_corpus', async (values: unknown[]) => {
  const echoed: unknown[] = []
  for (const value of values) echoed.push(await other(echo).run(value))
  return echoed
})
