/** A workflow and its worker in one file. Run it: it starts a PostgreSQL of its own. */

import { activity, client, sleep, Worker, workflow } from 'libworkflows'

const greet = activity({ name: 'greet', retries: 5 }, async (name: string) => {
  return `Hello, ${name}!`
})

const welcome = workflow({ name: 'welcome' }, async (name: string) => {
  const greeting = await greet.run(name) // recorded: not run again after a crash
  await sleep('2s') // durable: two seconds or two weeks
  return `${greeting} How do you do?`
})

async function main() {
  await using _worker = await new Worker().start()
  console.log(await welcome.run('Ada'))
}

main().finally(() => client().close())
