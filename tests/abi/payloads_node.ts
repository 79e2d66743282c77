/** Node's part of test_payloads.py: see payloads_python.py. `payloads_node CORPUS` */

import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { runInThisContext } from 'node:vm'
import { Client, ExecutionFailed, job, PayloadError, Worker } from 'libworkflows'

interface Entry {
  readonly name: string
  readonly text?: string
  readonly node?: string
  readonly from?: readonly string[]
}

const RECEIVERS = ['c', 'python', 'node']

const echo = job(
  { name: 'payloads.echo', queue: 'payloads-node', retries: 0 },
  async (value: unknown) => value,
)

function valueFrom(entry: Entry): unknown {
  if (entry.node !== undefined) return runInThisContext(entry.node)
  return JSON.parse(entry.text ?? '')
}

async function sent(entry: Entry, to: string): Promise<object> {
  const told = { name: entry.name, to }
  let id = ''
  try {
    const handle = await echo.options({ queue: `payloads-${to}` }).queue(valueFrom(entry))
    id = handle.id
    const result = await handle.result({ timeout: 600 })
    return { ...told, id, same: isDeepStrictEqual(result, JSON.parse(entry.text ?? '')) }
  } catch (error) {
    if (error instanceof ExecutionFailed) {
      return { ...told, id, refused: error.type, path: error.message.split(': ')[0] }
    }
    if (!(error instanceof PayloadError)) throw error
    return { ...told, id, refused: id === '' ? 'sent' : 'received', path: error.path }
  }
}

async function main(corpus: string): Promise<void> {
  const entries: Entry[] = JSON.parse(readFileSync(corpus, 'utf8'))
  const mine = entries.filter(({ from }) => from === undefined || from.includes('node'))
  const client = new Client()
  const worker = new Worker({ queues: ['payloads-node'] })
  const serving = worker.run()
  const told = RECEIVERS.flatMap((to) => mine.map((entry) => sent(entry, to)))
  console.log(JSON.stringify(await Promise.all(told)))
  for await (const _ of process.stdin); // until all have been served
  worker.stop()
  await serving
  await client.close()
}

void main(process.argv[2] ?? '')
