/**
 * Channels, over which event loops talk to an engine.
 *
 * A loop's requests are packed and handed in once a tick. Replies are announced by a byte in a
 * pipe that the loop watches, and taken 128 at a time. Nothing on a loop ever blocks, the opening
 * of an engine included, and the library never calls back.
 */

import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net'
import timers, { setTimeout } from 'node:timers'
import { Closed, Internal, WorkflowsError } from './_errors'
import { BUSY, type Library, OK } from './_library'
import { outside } from './_loop'
import { type CallOptions, type Claimed, Operation } from './_operations'
import { dumpRequest, loadReply } from './_payload'
import { faultToException } from './_wire_errors'

const { setImmediate } = timers // kept, since the guards put another in its place

const HEADER = 16 // bytes: token, length, operation, zero
const HIGH = 2 ** 32

const DRAIN_AT_ONCE = 128
const SUBMIT_AT_ONCE = 1024
const BUSY_PAUSE = 10 // ms
const ALONE: ChannelCallOptions = {}

const nextTick = process.nextTick.bind(process) // kept, whatever is put in its place

/** What may be said about one call. */
export interface ChannelCallOptions extends CallOptions {
  /** Answer the reply as text, {"ok": ...} or {"error": ...}, instead of what it says. */
  readonly raw?: boolean | undefined
  /** Whether the process may end by itself while the call is on its way. Default false. */
  readonly idle?: boolean | undefined
}

/** The library and the handle of an engine in it. */
export interface Connection {
  readonly library: Library
  readonly handle: number
}

/** What a channel needs of its engine. */
export interface Home {
  /** Connects, if that was not done. */
  open(): Promise<Connection>
  /** Drops a channel that has closed. */
  forget(channel: Channel): void
}

interface Pending {
  readonly operation: Operation
  readonly raw: boolean
  readonly idle: boolean
  readonly resolve: (ok: unknown) => void
  readonly reject: (error: unknown) => void
  /** Stops listening to the signal. */
  deaf: (() => void) | undefined
}

interface Listening {
  readonly tokens: Set<number>
  readonly abort: () => void
}

interface Reply {
  readonly ok?: any
  readonly error?: any
}

/** What carries the calls of one thread. */
export class Channel {
  readonly #home: Home
  #library: Library | undefined
  #handle = 0
  #socket: Socket | undefined
  #closed = false
  #connecting = false
  #ended = false
  #tokens = 0
  readonly #pending = new Map<number, Pending>()
  readonly #unsent = new Map<number, string>()
  readonly #listening = new Map<AbortSignal, Listening>()
  readonly #cancelledClaims = new Set<number>()
  #raw = 0
  #busy = 0
  #atOnce = SUBMIT_AT_ONCE
  #flushDue = false
  #drainDue = false

  constructor(home: Home) {
    this.#home = home
  }

  /** Whether the channel takes no more calls. */
  get isClosed(): boolean {
    return this.#closed
  }

  /**
   * Performs an operation and answers what its reply has under "ok".
   *
   * Aborting the signal asks the library to stop. A write that was aborted may have happened all
   * the same; a claim puts back what it had won.
   *
   * @param operation Which one.
   * @param request Its request; the payloads in it must be plain JSON.
   * @throws {WorkflowsError} The operation failed; the class follows from the fault's code.
   * @throws The signal's reason, once that is aborted.
   */
  call(operation: Operation, request: object, options: ChannelCallOptions = ALONE): Promise<any> {
    try {
      options.signal?.throwIfAborted()
      return this.#send(operation, dumpRequest(request), options)
    } catch (error) {
      return Promise.reject(error) // not async, which would add a promise to each call
    }
  }

  // --- sending ---

  #send(operation: Operation, body: string, options: ChannelCallOptions): Promise<unknown> {
    if (this.#closed) throw new Closed('the channel was closed')
    const { raw = false, idle = false, signal } = options
    const token = ++this.#tokens
    return new Promise((resolve, reject) => {
      const deaf = signal && this.#listen(signal, token)
      this.#pending.set(token, { operation, raw, idle, resolve, reject, deaf })
      this.#unsent.set(token, body)
      if (raw) this.#raw++
      if (!idle) this.#hold(1)
      this.#flushSoon()
    })
  }

  /** One listener for all calls of a signal, since Node warns of more than ten. */
  #listen(signal: AbortSignal, token: number): () => void {
    const listening = this.#listening.get(signal) ?? this.#hear(signal)
    listening.tokens.add(token)
    return () => {
      listening.tokens.delete(token)
      if (listening.tokens.size > 0) return
      this.#listening.delete(signal)
      signal.removeEventListener('abort', listening.abort)
    }
  }

  #hear(signal: AbortSignal): Listening {
    const tokens = new Set<number>()
    const abort = () => {
      for (const token of [...tokens]) this.#abandon(token, signal.reason)
    }
    signal.addEventListener('abort', abort)
    this.#listening.set(signal, { tokens, abort })
    return { tokens, abort }
  }

  /** Keeps the process alive exactly while somebody waits for an answer. */
  #hold(change: 1 | -1): void {
    const before = this.#busy
    this.#busy += change
    if (before === 0 || this.#busy === 0) this.#refer()
  }

  #refer(): void {
    if (this.#busy > 0) this.#socket?.ref()
    else this.#socket?.unref()
  }

  #take(token: number): Pending | undefined {
    const pending = this.#pending.get(token)
    if (pending === undefined) return undefined
    this.#pending.delete(token)
    pending.deaf?.()
    if (pending.raw) this.#raw--
    if (!pending.idle) this.#hold(-1)
    return pending
  }

  #flushSoon(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    nextTick(() => this.#flush())
  }

  #flush(): void {
    this.#flushDue = false
    if (this.#unsent.size === 0 || this.#closed) return
    if (this.#library === undefined) {
      void outside(() => this.#connect())
      return
    }
    const waiting = [...this.#unsent.keys()]
    const tokens = waiting.length > this.#atOnce ? waiting.slice(0, this.#atOnce) : waiting
    const code = this.#library.submit(this.#handle, this.#pack(tokens))
    if (code === BUSY) {
      // It takes all or nothing, so ask for less; and for replies may be long in coming.
      this.#atOnce = Math.max(1, tokens.length >> 1)
      this.#flushDue = true
      setTimeout(() => this.#flush(), BUSY_PAUSE)
      return
    }
    this.#sent(tokens, code)
    if (this.#unsent.size > 0) this.#flushSoon()
  }

  #sent(tokens: readonly number[], code: number): void {
    if (code === OK) this.#atOnce = Math.min(2 * this.#atOnce, SUBMIT_AT_ONCE)
    if (code === OK && tokens.length === this.#unsent.size) {
      this.#unsent.clear() // one new table, where deletes would shrink it again and again
      return
    }
    for (const token of tokens) {
      this.#unsent.delete(token)
      if (code !== OK) this.#take(token)?.reject(this.#library?.failure(code))
    }
  }

  #pack(tokens: readonly number[]): Buffer {
    let room = 0
    for (const token of tokens)
      room += HEADER + Buffer.byteLength(this.#unsent.get(token) as string)
    const packed = Buffer.allocUnsafe(room)
    let at = 0
    for (const token of tokens) {
      const { operation } = this.#pending.get(token) as Pending
      const n = packed.write(this.#unsent.get(token) as string, at + HEADER)
      packed.writeUInt32LE(token % HIGH, at)
      packed.writeUInt32LE(Math.floor(token / HIGH), at + 4)
      packed.writeUInt32LE(n, at + 8)
      packed.writeUInt32LE(operation, at + 12) // and the zero
      at += HEADER + n
    }
    return packed
  }

  // --- connecting ---

  async #connect(): Promise<void> {
    if (this.#connecting) return
    this.#connecting = true
    try {
      const { library, handle } = await this.#home.open()
      if (this.#closed) return
      this.#attach(library, handle)
    } catch (error) {
      const failure =
        error instanceof WorkflowsError
          ? error
          : new WorkflowsError(`the engine could not be opened: ${error}`, { cause: error })
      for (const token of this.#unsent.keys()) this.#take(token)?.reject(failure)
      this.#unsent.clear()
    } finally {
      this.#connecting = false
    }
    this.#flush()
  }

  #attach(library: Library, engine: number): void {
    const handle = library.channelOpen(engine)
    try {
      const fd = library.channelFd(handle)
      // Into one buffer, where each read would have one of 64 KiB of its own.
      const onread = { buffer: Buffer.alloc(64), callback: () => this.#announced() }
      const options: SocketConstructorOpts & Pick<TcpSocketConnectOpts, 'onread'> = { fd, onread }
      this.#socket = new Socket({ ...options, readable: true, writable: false })
    } catch (error) {
      library.channelClose(handle)
      throw error
    }
    this.#socket.on('close', () => this.#end())
    this.#socket.on('error', () => {}) // 'close' comes next
    this.#library = library
    this.#handle = handle
    this.#refer()
  }

  // --- receiving ---

  /** Hears a byte in the pipe; one that comes while what it announces is taken is heard again. */
  #announced(): true {
    this.#drain()
    return true
  }

  /** Takes what is left of a channel that the library has closed. */
  #end(): void {
    this.#ended = true
    this.#drain()
  }

  #drain(): void {
    this.#drainDue = false
    if (this.#library === undefined || this.#closed) return
    // A reply that is wanted as it came is cut out of an array of one.
    const { remaining, text } = this.#library.drain(this.#handle, this.#raw ? 1 : DRAIN_AT_ONCE)
    try {
      if (text) this.#deliver(text)
    } catch (error) {
      // Whoever waits is told, rather than left waiting.
      const message = `the library gave completions that cannot be read: ${error}`
      this.close(new Internal(message, { cause: error }))
      return
    }
    if (remaining < 0) this.close(this.#library.failure(remaining))
    else if (remaining > 0 || this.#ended) this.#drainSoon()
    if (this.#unsent.size > 0) this.#flushSoon()
  }

  /** Rescheduled, not looped, so that whoever was answered runs before more is taken. */
  #drainSoon(): void {
    if (this.#drainDue) return
    this.#drainDue = true
    setImmediate(() => this.#drain())
  }

  #deliver(text: string): void {
    for (const { token, reply } of loadReply(text)) {
      const pending = this.#take(token)
      if (pending === undefined) this.#unclaimed(token, reply)
      else if (pending.raw) pending.resolve(text.slice(text.indexOf('{', 2), -2))
      else if ('ok' in reply) pending.resolve(reply.ok)
      else pending.reject(faultToException(reply.error))
    }
  }

  // --- cancelling ---

  #abandon(token: number, reason: unknown): void {
    const pending = this.#take(token)
    if (pending === undefined) return
    pending.reject(reason)
    if (this.#unsent.delete(token) || this.#library === undefined) return
    if (pending.operation === Operation.CLAIM) this.#cancelledClaims.add(token)
    this.#library.cancel(this.#handle, token)
  }

  /** Releases what a claim had won before its cancellation reached the library. */
  #unclaimed(token: number, reply: Reply): void {
    if (!this.#cancelledClaims.delete(token) || this.#closed) return
    const held: readonly Claimed[] = reply.ok?.executions ?? []
    if (held.length === 0) return
    const items = held.map(({ id, lease }) => ({ id, lease, reason: 'drain' as const }))
    this.call(Operation.RELEASE, { items }).catch(() => {}) // then the lease runs out
  }

  // --- closing ---

  /**
   * Closes the channel; what is in flight is cancelled and rejects with Closed.
   *
   * Closing again changes nothing.
   */
  close(reason?: WorkflowsError): void {
    if (this.#closed) return
    this.#closed = true
    this.#home.forget(this)
    this.#socket?.destroy()
    this.#library?.channelClose(this.#handle)
    const error = reason ?? new Closed('the channel was closed while the call was on its way')
    for (const token of this.#pending.keys()) this.#take(token)?.reject(error)
    this.#unsent.clear()
  }
}
