/**
 * Tells of workflow code that never lets go of its thread, as `for (;;) await null` does.
 *
 * Nothing interrupts such code, and no timer of its thread fires any more. So another thread
 * looks at memory that the two share: whose code runs, and whether it is still the same turn.
 */

import timers from 'node:timers'
import { Worker } from 'node:worker_threads'

const { clearInterval, setInterval } = timers // kept, since the guards put others in their places

const PLACES = 8 // workflows whose code may run in the same turn of the event loop
const SIZE = 256 // bytes of a place: 4 for the length of the name, and the name
const LIMIT = 5000
const RESTS = 60_000 // without any workflow code, after which the other thread and its 18 MB go

// Turn, then the places.
const shared = new SharedArrayBuffer(4 + PLACES * SIZE)
const turn = new Int32Array(shared, 0, 1)
const free = Array.from({ length: PLACES }, (_, n) => n).reverse()
const lengths = free.map((_, n) => new Int32Array(shared, 4 + n * SIZE, 1))
const names = free.map((_, n) => new Uint8Array(shared, 8 + n * SIZE, SIZE - 4))
const encoder = new TextEncoder()
let dog: Worker | undefined

/** Notes whose code is about to run; answers its place, for `came`. */
export function goes(name: string, id: string): number | undefined {
  const place = dog && free.pop()
  if (place === undefined) return undefined
  turn[0] = ((turn[0] as number) + 1) | 0
  const { written } = encoder.encodeInto(`workflow ${name} ${id}`, names[place] as Uint8Array)
  ;(lengths[place] as Int32Array)[0] = written
  return place
}

/** Notes that the code waits. */
export function came(place: number | undefined): void {
  if (place === undefined) return
  turn[0] = ((turn[0] as number) + 1) | 0
  ;(lengths[place] as Int32Array)[0] = 0
  free.push(place)
}

/** Whether the other thread is there. */
export function isWatched(): boolean {
  return dog !== undefined
}

/**
 * Begins to watch this thread, if that was not done. It keeps no process alive, and ends when no
 * workflow code has run for a while: the next to run calls this again.
 */
export function watch(limit = LIMIT, rest = RESTS): void {
  if (dog !== undefined) return
  const code = `(${look})(require('node:worker_threads').workerData, require('node:fs'))`
  const workerData = { shared, places: PLACES, size: SIZE, limit, pid: process.pid }
  try {
    dog = new Worker(code, { eval: true, workerData, execArgv: [], env: {} })
  } catch {
    return // it is not allowed here: then nobody watches
  }
  dog.on('error', () => {})
  dog.unref()
  let last: number | undefined
  const rests = setInterval(() => {
    if (turn[0] === last && free.length === PLACES) {
      clearInterval(rests)
      void dog?.terminate()
      dog = undefined
    }
    last = turn[0]
  }, rest)
  rests.unref()
}

/** What the other thread does. It writes by itself, for its log would wait for this thread. */
function look(given: any, fs: typeof import('node:fs')): void {
  const { shared, places, size, limit, pid } = given
  const turn = new Int32Array(shared, 0, 1)
  let last: number | undefined
  let seen = 0 // counted, not timed: the process may have been suspended
  setInterval(() => {
    const who: string[] = []
    for (let at = 4; at < 4 + places * size; at += size) {
      const length = new Int32Array(shared, at, 1)[0] as number
      if (length > 0) who.push(Buffer.from(shared, at + 4, length).toString())
    }
    seen = who.length > 0 && turn[0] === last ? seen + 1 : 0
    last = turn[0]
    if (seen !== 5) return
    const text =
      `the code of ${who.join(' or ')} has kept its thread for ${limit / 1000} s without waiting ` +
      'for anything durable. Nothing can interrupt it, nothing else runs there, and no signal is ' +
      `heard: if it never ends, kill the process (kill -9 ${pid}). Until then the library keeps ` +
      'its lease and those of all that this process holds, so that nobody else takes them over'
    fs.writeSync(2, `${new Date().toISOString()} ERROR ${text}\n`)
  }, limit / 5)
}
