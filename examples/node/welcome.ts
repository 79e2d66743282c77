/** The functions of quickstart.ts, in a module of their own: tests import it, and nothing starts. */

import { activity, sleep, workflow } from 'libworkflows'

export const greet = activity({ name: 'greet', retries: 5 }, async (name: string) => {
  return `Hello, ${name}!`
})

export const welcome = workflow({ name: 'welcome' }, async (name: string) => {
  const greeting = await greet.run(name) // recorded: not run again after a crash
  await sleep('2s') // durable: two seconds or two weeks
  return `${greeting} How do you do?`
})
