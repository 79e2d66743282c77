/**
 * graphile-worker under faults: `peer_graphile.mjs prepare|worker|client`.
 *
 * A worker writes down under which name it holds jobs, and unlocks those of its predecessor,
 * unless PEER_NAME says that it is left alone. It is started again only after that has died.
 */

import { EventEmitter } from 'node:events'
import { existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const {
  PEER_URL: connectionString,
  PEER_WORKER: me = 'client',
  PEER_SLOT: slot = 'client',
  PEER_RUN: directory = '.',
  PEER_SECONDS: seconds = '30',
  PEER_MODULES: modules = '.',
  PEER_NAME: peer = 'graphile',
} = process.env
const CLIENTS = 8
const BODY = 100

const main = join(modules, 'graphile-worker', 'dist', 'index.js')
const { Logger, makeWorkerUtils, run } = await import(pathToFileURL(main).href)
const journal = openSync(join(directory, `${me}.jsonl`), 'a')

const clock = () => Number(process.hrtime.bigint()) / 1e9
const note = (what, uid) =>
  writeSync(journal, `${JSON.stringify({ what, uid, at: clock(), by: me })}\n`)

async function work({ uid }) {
  note('begin', uid)
  await pause(BODY)
  note('end', uid)
}

const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})
const utils = await makeWorkerUtils({ connectionString, maxPoolSize: 5, logger })

async function prepare() {
  await utils.migrate()
  await utils.release()
}

async function worker() {
  const held = join(directory, `${slot}.held`)
  if (peer === 'graphile' && existsSync(held)) {
    await utils.forceUnlockWorkers([readFileSync(held, 'utf8')])
  }
  const events = new EventEmitter()
  events.on('pool:create', ({ workerPool }) => writeFileSync(held, workerPool.id))
  const runner = await run({
    preset: { worker: { connectionString, concurrentJobs: 16, maxPoolSize: 5, pollInterval: 500 } },
    events,
    logger,
    noHandleSignals: true,
    parsedCronItems: [],
    taskList: { work },
  })
  await runner.promise
}

async function client() {
  const until = clock() + Number(seconds)
  const one = async (n) => {
    for (let count = 1; clock() < until; count++) {
      const uid = `${n}.${count}`
      await utils.addJob('work', { uid })
      note('accepted', uid)
      await pause(50)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => one(n)))
}

await { prepare, worker, client }[process.argv[2]]()
