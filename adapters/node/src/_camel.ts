/** The words of the wire as JavaScript spells them: `parent_id` is `parentId`. */

import type * as wire from './_operations'
import { adapt, PAYLOADS, Unreadable } from './_payload'

type PayloadName = 'args' | 'kwargs' | 'result' | 'error' | 'progress' | 'state' | 'payload'

/** A name of the wire, as JavaScript spells it. */
export type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

/** A type of the wire, with its members spelt as in JavaScript and payloads as they are. */
export type Camel<T> = T extends readonly (infer Item)[]
  ? Camel<Item>[]
  : T extends object
    ? {
        [Name in keyof T as CamelCase<Name & string>]: Name extends PayloadName
          ? unknown
          : Camel<T[Name]>
      }
    : T

/** An execution as it stands. Instants are ISO texts; `error` is as it went over the wire. */
export type Execution = Camel<wire.Execution>
/** One entry of a workflow's history. */
export type Event = Camel<wire.Event>
/** Answers one new execution. */
export type Created = Camel<wire.Created>
/** Answers an act on one execution; `changed` is false when there was nothing to do. */
export type Change = Camel<wire.Change>
/** Answers a signal. */
export type Sent = Camel<wire.Sent>
/** A page of executions; only one without a cursor is the last. */
export type ExecutionPage = Camel<wire.ListExecutionsReply>
/** How the system stands. */
export type Stats = Camel<wire.StatsReply>
/** What a migration did. */
export type Migrated = Camel<wire.MigrateReply>
/** What a new execution is made of. */
export type NewExecution = Camel<wire.NewExecution>
/** Where an execution stands. */
export type Status = wire.Status

/** Answers a reply with its members spelt as in JavaScript. */
export function camelCased<T>(value: T): Camel<T> {
  return respelt(value, camel) as Camel<T>
}

/** Answers a request with its members spelt as on the wire. */
export function snakeCased(value: object): object {
  return respelt(value, snake) as object
}

function respelt(value: unknown, spell: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => respelt(item, spell))
  if (typeof value !== 'object' || value === null) return value
  const spelt: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(value)) {
    if (item instanceof Unreadable) refuseWhenRead(spelt, name, item)
    else spelt[spell(name)] = PAYLOADS.has(name) ? item : respelt(item, spell)
  }
  return spelt
}

/** One payload that JavaScript cannot hold does not keep anybody from reading the rest. */
function refuseWhenRead(spelt: object, name: string, item: Unreadable): void {
  Object.defineProperty(spelt, name, { get: () => adapt(item), enumerable: true })
}

const camel = remembered((name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()))
const snake = remembered((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))

function remembered(spell: (name: string) => string): (name: string) => string {
  const known = new Map<string, string>()
  return (name) => {
    let found = known.get(name)
    if (found === undefined) {
      found = spell(name)
      // Names come from the wire's types, and now and then from a user's mistake.
      if (known.size < 1000) known.set(name, found)
    }
    return found
  }
}
