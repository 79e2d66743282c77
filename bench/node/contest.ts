/** Does for contestants in TypeScript what bench/run.py wants of one. */

import { readSync, writeSync } from 'node:fs'

export const SECONDS = Number(process.env.BENCH_SECONDS ?? '2')
export const WORKLOADS = process.env.BENCH_WORKLOADS ?? ''
export const URL = process.env.BENCH_DATABASE_URL ?? ''
export const CALLERS = 200
export const BATCH = 500
export const WRITERS = 4
export const STEPS = 10

const PAUSE = 5
const WARM = 10

export const wanted = (name: string): boolean =>
  WORKLOADS === '' || WORKLOADS.split(',').includes(name)

/** Seconds on a clock that all processes of the machine share. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e9

export const sleep = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000))

export function print(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

/** Prints a line and waits until the meters have been read. */
export function emit(line: object): void {
  print(line)
  if (process.env.BENCH_WAITS) readSync(0, Buffer.alloc(1))
}

/** Has callers repeat an operation for the time given; it answers what it was worth. */
export async function rate(
  name: string,
  callers: number,
  operation: () => Promise<number>,
): Promise<void> {
  if (!wanted(name)) return
  await operation() // connects and prepares
  emit({ begin: name })
  const started = now()
  let count = 0
  const repeat = async () => {
    while (now() < started + SECONDS) {
      const worth = await operation() // not in one expression: others count meanwhile
      count += worth
    }
  }
  await Promise.all(Array.from({ length: callers }, repeat))
  emit({ workload: name, value: count / (now() - started), unit: '/s', operations: count })
}

/** Counts what is done in the time given, or until the queue is empty. */
export async function drain(start: () => Promise<unknown>, done: () => number): Promise<void> {
  emit({ begin: 'drain' })
  await start()
  const started = now()
  const before = done()
  let last = started
  let count = before
  while (now() < started + SECONDS && (last === started || now() < last + 0.2)) {
    await sleep(PAUSE / 1000)
    if (done() > count) {
      count = done()
      last = now()
    }
  }
  const operations = count - before
  const value = operations > 0 ? operations / (last - started) : 0
  emit({ workload: 'drain', value, unit: '/s', operations })
}

/** Fills the queue of {@link drain}, if no workload before it has. */
export async function fill(batches: number, batch: () => Promise<unknown>): Promise<void> {
  if (wanted('enqueue_batch')) return
  for (let n = 0; n < batches * SECONDS; n++) await batch()
}

/** Repeats an operation, which answers seconds, on an otherwise idle system. */
export async function latency(name: string, operation: () => Promise<number>): Promise<void> {
  if (!wanted(name)) return
  for (let n = 0; n < WARM; n++) await operation()
  emit({ begin: name })
  const took: number[] = []
  for (const end = now() + SECONDS; now() < end; await sleep(PAUSE / 1000)) {
    took.push(await operation())
  }
  const [p50, p99] = quantiles(took)
  emit({ workload: name, value: p50, p99, unit: 'ms', operations: took.length })
}

/** Answers p50 and p99 in milliseconds. */
export function quantiles(took: number[]): [number, number] {
  const sorted = took.toSorted((a, b) => a - b)
  const at = (q: number) => (sorted[Math.ceil(q * sorted.length) - 1] ?? 0) * 1000
  return [at(0.5), at(0.99)]
}

/** Leaves a worker alone. */
export async function idle(): Promise<void> {
  await sleep(2) // what a start brings is over
  emit({ begin: 'idle' })
  await sleep(SECONDS)
  emit({ workload: 'idle' })
}

/** Answers how to wait for something that happens once at a time. */
export function event<T>(): { happens: (value: T) => void; next: () => Promise<T> } {
  let resolve: (value: T) => void = () => {}
  return {
    happens: (value) => resolve(value),
    next: () =>
      new Promise<T>((settle) => {
        resolve = settle
      }),
  }
}
