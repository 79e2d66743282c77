/**
 * What types promise, checked by `tsc` alone: nothing here is ever run.
 *
 * Each `@ts-expect-error` is a mistake that must stay one.
 */

import {
  ActivityError,
  activity,
  type Durable,
  type Execution,
  type Fn,
  Handle,
  job,
  RemoteError,
  step,
  TimeoutError,
  type Wire,
  Worker,
  workflow,
} from '../src'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Holds only if the type of the value is exactly this one. */
function expectType<Expected>() {
  return <Actual>(_: Actual, ..._same: Equal<Actual, Expected> extends true ? [] : [never]) => {}
}

/** Holds only if both types are exactly the same. */
function expectSame<A, B>(..._same: Equal<A, B> extends true ? [] : [never]) {}

interface Receipt {
  number: string
  cents: number
}

const charge = activity(
  { name: 'charge', retries: 5, timeout: '30s', nonRetryable: [RangeError, 'CardDeclined'] },
  async (card: string, cents: number, note?: string): Promise<Receipt> => ({
    number: card + (note ?? ''),
    cents,
  }),
)
const count = job('count', (words: readonly string[]) => words.length)
const audit = step(async function audit(line: string) {
  void line
})
const sum = job('sum', (...numbers: number[]) => numbers.reduce((a, b) => a + b))
const order = workflow({ name: 'order', queue: 'orders', timeout: '24h' }, async (card: string) => {
  return await charge.run(card, 100)
})
const printLabel = activity.external<(item: string, copies?: number) => string>({
  name: 'print_label',
  queue: 'warehouse',
})

export async function results(): Promise<void> {
  expectType<Receipt>()(await charge.run('4242', 100))
  expectType<Promise<Receipt>>()(charge.run('4242', 100, 'note'))
  expectType<Promise<Receipt>>()(charge('4242', 100))
  expectType<number>()(count(['a']))
  expectType<number>()(await count.run(['a']))
  expectType<void>()(await audit.run('line'))
  expectType<number>()(await sum.run(1, 2, 3))
  expectType<Receipt>()(await order.run('4242'))
  expectType<string>()(await printLabel.run('book', 2))

  const handle = await count.options({ priority: 9, delay: '5m' }).queue(['a'])
  expectType<Handle<number>>()(handle)
  expectType<number>()(await handle.result({ timeout: '5m' }))
  expectType<boolean>()(handle.created)
  expectType<string | null>()(await handle.getState<string>())
  expectType<unknown>()(await new Handle('id').result())
}

export async function parameters(): Promise<void> {
  // @ts-expect-error a number is no card
  await charge.run(4242, 100)
  // @ts-expect-error the amount is missing
  await charge.run('4242')
  // @ts-expect-error one argument too many
  await count.queue(['a'], 5)
  // @ts-expect-error a plain call has the same parameters
  charge('4242')
  // @ts-expect-error options keep the parameters
  await charge.options({ retries: 1 }).run(4242, 100)
  // @ts-expect-error copies are a number
  await printLabel.run('book', 'two')
  // @ts-expect-error a text is not the result
  expectType<string>()(await count.run(['a']))
}

export function options(): void {
  // @ts-expect-error no such option
  job({ name: 'a', queu: 'mail' }, () => 1)
  // @ts-expect-error a priority is a number
  job({ name: 'a', priority: 'high' }, () => 1)
  // @ts-expect-error a workflow goes on from its history instead of beginning again
  workflow({ name: 'a', retries: 3 }, () => 1)
  // @ts-expect-error a step has no queue of its own
  step({ name: 'a', queue: 'mail' }, () => 1)
  // @ts-expect-error only workflows take signals
  count.options({ signal: ['add', 1] })
  // @ts-expect-error a name belongs into the definition
  count.options({ name: 'other' })
  // @ts-expect-error a step runs in the workflow itself
  audit.queue('line')
  // @ts-expect-error whatever its options
  audit.options({ retries: 1 }).queue('line')
  // @ts-expect-error steps live in the worker of their workflow
  step.external<() => void>('elsewhere')
  // @ts-expect-error an external function has a name
  activity.external<() => void>({ queue: 'warehouse' })
  // @ts-expect-error neither cancel nor detach
  count.options({ closePolicy: 'keep' })
  // @ts-expect-error classes of errors, not one
  count.options({ nonRetryable: RangeError })

  order.options({ signal: ['add', { item: 1 }, 'key'], runAt: new Date(), idempotencyKey: 'k' })
  audit.options({ retries: 0, timeout: null })
  count.options({ queue: undefined, timeout: 2.5, closePolicy: 'detach' })
}

export function members(execution: Execution): void {
  expectType<string | undefined>()(execution.parentId)
  expectType<unknown>()(execution.result)
  expectType<string>()(execution.createdAt)
  // @ts-expect-error the wire's spelling
  execution.parent_id
  expectType<'job' | 'activity' | 'step' | 'workflow'>()(charge.kind)
  expectType<string>()(charge.functionName)
}

export function errors(error: unknown): string {
  if (error instanceof ActivityError) {
    expectType<string>()(error.type)
    expectType<number>()(error.attempts)
    expectType<RemoteError | undefined>()(error.cause)
  }
  if (error instanceof RemoteError) return error.language ?? error.remoteStack
  return error instanceof TimeoutError ? error.message : ''
}

/** A function that takes any durable function. */
export async function twice<R>(fn: Fn<[], R>): Promise<[R, R]> {
  return [await fn.run(), await fn.run()]
}

export async function passes(): Promise<void> {
  expectType<[number, number]>()(await twice(job('one', async () => 1)))
  expectType<[string, string]>()(await twice(job('now', () => new Date())))
  expectType<[string, string]>()(await twice(workflow('w', async () => 'x')))
  const queued: Fn[] = [charge, count, sum, order, printLabel]
  const all: Durable[] = [...queued, audit]
  // @ts-expect-error a step cannot be queued
  queued.push(audit)
  new Worker({ functions: all })
}

/** Parameters with defaults have the type of the default. */
export async function defaults(): Promise<void> {
  const o = activity({ name: 'o' }, async (a: string, b = 2, { c = true } = {}) => ({ a, b, c }))
  expectType<{ a: string; b: number; c: boolean }>()(await o.run('a'))
  await o.run('a', 3, { c: false })
  // @ts-expect-error the default is a number
  await o.run('a', 'x')
  // @ts-expect-error of the other parameters too
  await o.run(1)
  const named = activity(async function named(n = 1, ...more: boolean[]) {
    return more.length + n
  })
  expectType<number>()(await named.run(1, true))
  // @ts-expect-error a text is no number
  await named.queue('1')
  // @ts-expect-error a parameter without a type or default would be any
  activity('untyped', async (x) => x)
  // @ts-expect-error a class is no body
  activity(class Body {})

  const same = activity('same', async <T>(x: T): Promise<T> => x)
  expectType<unknown>()(await same.run(1)) // as far as types go: no parameters of types are kept
  const loose = activity('loose', async (x: string): Promise<any> => x)
  expectType<any>()(await loose.run('a'))
}

interface Line {
  readonly item: string
  count?: number
  note: string | null
  parts: Line[]
  at: readonly [number, string?]
}

interface Stored {
  at: Date
  tags: Set<string>
  big: bigint
  price: Euro
  due?: Date
  seen: Date | undefined
  act(): void
  inner: { at: Date }[]
  pair: [Date, undefined, ...Date[]]
  loose: any
  open: unknown
}

interface Tree {
  at: Date
  below: Tree[]
}

class Euro {
  constructor(readonly cents: number) {}
  toJSON() {
    return { euro: this.cents, at: new Date() }
  }
}

type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain }

/** What arrives of a value that was sent. */
export async function arrivals(stored: Wire<Stored>, tree: Wire<Tree>): Promise<void> {
  // Plain JSON is the very same type, by its own name.
  expectSame<Wire<Line>, Line>()
  expectSame<Wire<readonly Line[]>, readonly Line[]>()
  expectSame<Wire<Plain>, Plain>()
  expectSame<Wire<Record<string, unknown>>, Record<string, unknown>>()
  expectSame<Wire<'a' | 1 | null>, 'a' | 1 | null>()
  expectSame<Wire<any>, any>()
  expectSame<Wire<unknown>, unknown>()
  expectSame<Wire<void>, void>()
  expectSame<Wire<undefined>, null>()
  expectSame<Wire<string | undefined>, string | null>()
  expectSame<Wire<URL | Date | bigint>, string>()
  expectSame<Wire<Map<string, number> | Uint8Array | Buffer | symbol>, never>()
  expectSame<Wire<Promise<number>>, never>()

  expectType<string>()(stored.at)
  expectType<never>()(stored.tags)
  expectType<never>()(stored.big)
  expectType<{ euro: number; at: string }>()(stored.price)
  expectType<string | undefined>()(stored.due)
  expectType<string | undefined>()(stored.seen)
  expectType<never>()(stored.act)
  expectType<{ at: string }[]>()(stored.inner)
  expectType<[string, null, ...string[]]>()(stored.pair)
  expectType<any>()(stored.loose)
  expectType<unknown>()(stored.open)
  expectType<string | undefined>()(tree.below[0]?.below[0]?.at)

  const when = activity('when', async (at: Date) => ({ at }))
  expectType<{ at: string }>()(await when.run(new Date()))
  expectType<{ at: string }>()(await (await when.queue(new Date())).result())
  expectType<Promise<{ at: Date }>>()(when(new Date())) // nothing travels
  const elsewhere = activity.external<(at: Date) => { at: Date }>('elsewhere')
  expectType<{ at: string }>()(await elsewhere.run(new Date()))
  expectType<string>()(
    await job('text', (text: string) => text)
      .options({ priority: 1 })
      .run(''),
  )
}
