/** What bodies wait for that comes from outside: sockets, files, processes, threads of Node. */

import { AsyncResource, createHook } from 'node:async_hooks'
import { type Body, bodies } from './_bodies'

// What is no request, or has no end that could be waited for. What is open is counted otherwise.
const NONE = new Set([
  'PROMISE',
  'Timeout',
  'TickObject',
  'Microtask',
  'TCPWRAP',
  'TCPSERVERWRAP',
  'PIPEWRAP',
  'PIPESERVERWRAP',
  'TLSWRAP',
  'TTYWRAP',
  'UDPWRAP',
  'SIGNALWRAP',
  'WORKER',
  'MESSAGEPORT',
  'FILEHANDLE',
  'DIRHANDLE',
  'FSEVENTWRAP',
  'STATWATCHER',
  'HTTPCLIENTREQUEST',
  'HTTPINCOMINGMESSAGE',
  'HTTP2SESSION',
  'HTTP2STREAM',
  'DNSCHANNEL',
  'JSSTREAM',
  'ELDHISTOGRAM',
])
const STREAMS = new Set(['ZLIB', 'STREAMPIPE', 'BLOBREADER'])
// Whatever these are for, they are not what a body waits for.
const OWN = new Set(['Immediate', 'TTYWrap', 'CloseReq'])

const requests = new Map<number, Body>()
let users = 0

// Without `destroy`: Node would have to follow every promise for it.
const hook = createHook({
  init(id, type, _, resource) {
    if (NONE.has(type) || resource instanceof AsyncResource) return // that is JavaScript's own
    const body = bodies.getStore()
    if (body === undefined) return
    if (STREAMS.has(type)) {
      body.streams = true
      return
    }
    requests.set(id, body)
    body.requests.add(id)
  },
  after(id) {
    const body = requests.get(id)
    if (body === undefined) return
    body.requests.delete(id)
    requests.delete(id)
  },
})

/** Forgets what a body that has ended has asked for. */
export function unasked(body: Body): void {
  for (const id of body.requests) requests.delete(id)
}

/** Watches what bodies ask the process for, until it is taken back. */
export function watch(): () => void {
  if (users++ === 0) hook.enable()
  return () => {
    if (--users === 0) hook.disable()
  }
}

/** What was open when an environment was opened, to be compared with what is open later. */
export class Baseline {
  readonly #counts = open()

  /** Forgets what has been closed since; nothing that a body has opened is to be open now. */
  lower(): void {
    const now = open()
    for (const [type, count] of this.#counts) {
      this.#counts.set(type, Math.min(count, now.get(type) ?? 0))
    }
  }

  /** Whether something is open beyond that. */
  get isExceeded(): boolean {
    for (const [type, count] of open()) {
      if (count > (this.#counts.get(type) ?? 0)) return true
    }
    return false
  }
}

function open(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const type of process.getActiveResourcesInfo()) {
    if (!OWN.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1)
  }
  return counts
}

/** Whether a body may hear from outside; `more` says whether more is open than at the start. */
export function mayHear(body: Body, more: boolean): boolean {
  if (body.requests.size > 0) return true
  return body.sleeps === 0 && (more || body.streams)
}
