/** A program that uses a client and has nothing else to do; the test says how it uses it. */

import { randomUUID } from 'node:crypto'
import { Client, configure, ExecutionNotFound, Handle, job } from '../src'

const [, , what, url = '', id = ''] = process.argv
const client = configure({ url })

process.once('beforeExit', () => process.stdout.write('idle\n'))

/** What the process does, by name. */
const uses: Record<string, () => Promise<unknown>> = {
  wait: async () => {
    const result = new Handle(id).result()
    process.stdout.write('waiting\n')
    process.stdout.write(`${JSON.stringify(await result)}\n`)
  },
  close: async () => {
    await client.stats()
    await client.close()
  },
  closeWhileWaiting: async () => {
    const result = new Handle(id).result().catch((error: Error) => error)
    await client.stats()
    await client.close(0.1)
    process.stdout.write(`${(await result) as Error}\n`)
  },
  forget: async () => {
    const handle = await job({ name: 'forgotten', queue: randomUUID() }, () => 1).queue()
    process.stdout.write(`${await handle.status()}\n`)
  },
  fail: async () => {
    await using other = new Client({ url })
    await other.get(randomUUID()).catch((error: unknown) => {
      process.stdout.write(`${error instanceof ExecutionNotFound}\n`)
    })
  },
}

uses[what ?? '']?.().catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
