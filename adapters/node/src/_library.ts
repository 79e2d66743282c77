/**
 * The shared library, loaded at first use, and its functions.
 *
 * Nothing here is loaded by importing the package: who only defines functions needs neither the
 * library nor a binding to C. Threads of a process each load it anew and get the same one.
 */

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import {
  Busy,
  Closed,
  Forked,
  Internal,
  InvalidHandle,
  InvalidRequest,
  LibraryMismatch,
  LibraryNotFound,
  Timeout,
  type WorkflowsError,
} from './_errors'
import { ABI_VERSION, DIGEST } from './_operations'
import { PACKAGES } from './_version'
import { faultToException } from './_wire_errors'

export const OK = 0
export const ERROR = -1
export const BUSY = -2
export const CLOSED = -3
export const INVALID_HANDLE = -4
export const INVALID_ARGUMENT = -5
export const FORKED = -6
export const TIMEOUT = -7
export const INTERNAL = -8

const FILE = 'libworkflows.so'
const PLATFORM = `${process.platform}-${process.arch}`
const CHECKOUT = resolve(__dirname, '../../..') // from adapters/node/src, and from dist

const FAILURES: Readonly<Record<number, () => WorkflowsError>> = {
  [BUSY]: () => new Busy('too much is waiting in the library; try again later'),
  [CLOSED]: () => new Closed('the engine or channel was closed'),
  [INVALID_HANDLE]: () => new InvalidHandle('no engine or channel has this handle'),
  [INVALID_ARGUMENT]: () => new InvalidRequest('the library refused an argument'),
  [FORKED]: () => forked(),
  [TIMEOUT]: () => new Timeout('the library took longer than it was given'),
}

/** What `wf_build_info` tells of a library. */
export interface BuildInfo {
  readonly version: string
  readonly commit: string
  readonly operations: string
}

/** What was drained: how many remain, or a code below 0, and a JSON array or "". */
export interface Drained {
  readonly remaining: number
  readonly text: string
}

/**
 * The shared library. There is one in a thread: `Library.get()`.
 *
 * Methods that answer a code leave it to the caller what a code means; `failure` makes an error
 * of one. Only `open` and `close` take long, which is why they answer promises.
 */
export class Library {
  static #loaded: Library | undefined

  /**
   * Answers the library, loading it at first use.
   *
   * It is looked for in WORKFLOWS_LIBRARY, in the package for this platform, and in the build
   * directory of the repository when the package runs from there.
   *
   * @throws {LibraryNotFound} There is none, or it cannot be loaded.
   * @throws {LibraryMismatch} It is of another version than this package.
   */
  static get(): Library {
    Library.#loaded ??= new Library(findLibrary())
    return Library.#loaded
  }

  readonly buildInfo: BuildInfo
  readonly #koffi: Koffi
  readonly #c: Functions
  // Where C writes a pointer and a length.
  readonly #out = new BigUint64Array(1)
  readonly #size = new BigUint64Array(1)

  constructor(readonly path: string) {
    this.#koffi = loadKoffi()
    const loaded = load(this.#koffi, path)
    this.buildInfo = checkVersion(loaded, path)
    this.#c = declare(loaded)
  }

  /** Makes an error of a code that a function answered. */
  failure(code: number): WorkflowsError {
    const known = FAILURES[code]
    return known?.() ?? new Internal(`the library failed in a way that it did not expect (${code})`)
  }

  /** Opens an engine and answers its handle, once it is connected. */
  async open(config: string): Promise<number> {
    const engine = [0]
    const error: [bigint | null] = [null]
    const code = await later(this.#c.open, config, Buffer.byteLength(config), engine, error)
    const [at] = error
    if (at !== null) {
      const text = this.#koffi.decode.string(at)
      this.#c.free(at)
      throw faultToException(JSON.parse(text).error)
    }
    if (code !== OK) throw this.failure(code)
    return engine[0] as number
  }

  /** Closes an engine; takes at most about the grace. */
  close(engine: number, graceMs: number): Promise<number> {
    return later(this.#c.close, engine, graceMs)
  }

  /** Closes an engine while the process ends, blocking it for at most about the grace. */
  closeNow(engine: number, graceMs: number): number {
    return this.#c.close(engine, graceMs)
  }

  /** Opens a channel on an engine and answers its handle. */
  channelOpen(engine: number): number {
    const channel = [0]
    const code = this.#c.channelOpen(engine, channel)
    if (code !== OK) throw this.failure(code)
    return channel[0] as number
  }

  /** Closes a channel; what is in flight on it is cancelled. */
  channelClose(channel: number): number {
    return this.#c.channelClose(channel)
  }

  /** Answers a descriptor that becomes readable with completions; the caller closes it. */
  channelFd(channel: number): number {
    const descriptor = this.#c.channelFd(channel)
    if (descriptor < 0) throw this.failure(descriptor)
    return descriptor
  }

  /** Hands in packed requests, all or none. Never blocks. */
  submit(channel: number, packed: Uint8Array): number {
    return this.#c.submit(channel, packed, packed.length)
  }

  /** Takes up to so many completions. Never blocks. */
  drain(channel: number, most: number): Drained {
    const remaining = this.#c.drain(channel, most, this.#out, this.#size)
    const at = this.#out[0] as bigint
    if (at === 0n) return { remaining, text: '' }
    const text = this.#koffi.decode.string(at, Number(this.#size[0]))
    this.#c.free(at)
    return { remaining, text }
  }

  /** Asks a request to stop. It still completes. */
  cancel(channel: number, token: number): number {
    return this.#c.cancel(channel, token)
  }

  /**
   * Runs the command line and answers the status to exit with. Blocks until it is done.
   *
   * @param argv The program's name and its arguments.
   */
  runCommandLine(argv: readonly string[]): number {
    const status = this.#c.main(argv.length, [...argv, null])
    if (status < 0) throw this.failure(status)
    return status
  }

  /** Ends the process without waiting for its threads. */
  endProcess(status: number): never {
    throw this.#koffi.load(null).func('void _exit(int status)')(status)
  }
}

/**
 * Answers where the shared library is, without loading it.
 *
 * @throws {LibraryNotFound} It is nowhere; the message lists the ways to get one.
 */
export function findLibrary(): string {
  const named = process.env.WORKFLOWS_LIBRARY
  if (named) {
    const path = resolve(named)
    if (existsSync(path)) return path
    throw new LibraryNotFound(`WORKFLOWS_LIBRARY names ${path}, which is not there`)
  }
  const found = [inPackage(), inCheckout()].find((path) => path !== undefined && existsSync(path))
  if (found !== undefined) return found
  throw new LibraryNotFound(`${FILE} was not found. ${howToGetIt()}`)
}

/** Answers where the package for this platform has it, if that is installed. */
function inPackage(): string | undefined {
  try {
    const manifest = createRequire(__filename).resolve(`@libworkflows/${PLATFORM}/package.json`)
    return join(dirname(manifest), FILE)
  } catch {
    return undefined
  }
}

function inCheckout(): string | undefined {
  return existsSync(join(CHECKOUT, 'go.mod')) ? join(CHECKOUT, 'build', FILE) : undefined
}

/** Says how to get a library for a platform, which need not have a package. */
export function howToGetIt(platform = PLATFORM, musl = hasMusl()): string {
  const name = `@libworkflows/${platform}`
  const first =
    PACKAGES.includes(name) && !musl
      ? `Install the package ${name}, which brings it along (npm does so with libworkflows, unless` +
        ' optional dependencies are left out); or build it'
      : `No package brings it along for ${platform}${musl ? ' with musl' : ''}. Build it`
  return (
    `${first} with \`make build\` in a checkout of the repository, which takes Go and a C compiler;` +
    ' or set WORKFLOWS_LIBRARY to the path of one'
  )
}

/** Whether this Linux has another C library than the one that packages are built for. */
function hasMusl(): boolean {
  if (process.platform !== 'linux') return false
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return header?.glibcVersionRuntime === undefined
}

const HOW_TO_MATCH_IT =
  'Install libworkflows and its package for the platform in one version; in a checkout run' +
  ' `make build`, and look where WORKFLOWS_LIBRARY points'

// --- C ------------------------------------------------------------------------------------

type Koffi = typeof import('koffi')
type Loaded = ReturnType<Koffi['load']>
type Call<A extends unknown[]> = ((...args: A) => number) & {
  async(...args: [...A, (error: unknown, result: number) => void]): void
}

interface Functions {
  free(at: bigint): void
  open: Call<[string, number, number[], [bigint | null]]>
  close: Call<[number, number]>
  channelOpen(engine: number, channel: number[]): number
  channelClose(channel: number): number
  channelFd(channel: number): number
  submit(channel: number, packed: Uint8Array, n: number): number
  drain(channel: number, most: number, out: BigUint64Array, size: BigUint64Array): number
  cancel(channel: number, token: number): number
  main(argc: number, argv: (string | null)[]): number
}

function loadKoffi(): Koffi {
  try {
    return require('koffi')
  } catch (error) {
    throw new LibraryNotFound(
      `koffi, through which the library is called, cannot be loaded: ${said(error)}. Install` +
        ' libworkflows again without leaving out optional dependencies, on the platform that it' +
        ' runs on',
      { cause: error },
    )
  }
}

function load(koffi: Koffi, path: string): Loaded {
  try {
    return koffi.load(path)
  } catch (error) {
    throw new LibraryNotFound(`${path} cannot be loaded: ${said(error)}. ${howToGetIt()}`, {
      cause: error,
    })
  }
}

function checkVersion(loaded: Loaded, path: string): BuildInfo {
  let abi: number
  let info: BuildInfo
  try {
    abi = loaded.func('uint32_t wf_abi_version()')()
    info = JSON.parse(loaded.func('const char *wf_build_info()')())
  } catch (error) {
    throw new LibraryMismatch(`${path} is not the library of libworkflows: ${said(error)}`, {
      cause: error,
    })
  }
  if (abi !== ABI_VERSION) {
    throw new LibraryMismatch(
      `${path} (version ${info.version}) has version ${abi} of the C interface, and this package` +
        ` needs ${ABI_VERSION}. ${HOW_TO_MATCH_IT}`,
    )
  }
  if (info.operations !== DIGEST) {
    throw new LibraryMismatch(
      `${path} (version ${info.version}) has the operations ${info.operations}, and this package` +
        ` was generated from ${DIGEST}. ${HOW_TO_MATCH_IT}`,
    )
  }
  return info
}

function declare(loaded: Loaded): Functions {
  const f = (declaration: string) => loaded.func(declaration) as any
  return {
    free: f('void wf_free(void *at)'),
    open: f(
      'int wf_open(const char *config, size_t n, _Out_ uint64_t *engine, _Out_ void **error)',
    ),
    close: f('int wf_close(uint64_t engine, int grace_ms)'),
    channelOpen: f('int wf_channel_open(uint64_t engine, _Out_ uint64_t *channel)'),
    channelClose: f('int wf_channel_close(uint64_t channel)'),
    channelFd: f('int wf_channel_fd(uint64_t channel)'),
    submit: f('int wf_submit(uint64_t channel, const void *packed, size_t n)'),
    // `void *`, since koffi would make BigInts and arrays of typed outputs, 128 times a drain
    drain: f('int wf_drain(uint64_t channel, uint32_t most, void *out, void *n)'),
    cancel: f('int wf_cancel(uint64_t channel, uint64_t token)'),
    main: f('int wf_main(int argc, const char **argv)'),
  }
}

/** Calls on a thread of its own. */
function later<A extends unknown[]>(call: Call<A>, ...args: A): Promise<number> {
  return new Promise((done, fail) => {
    call.async(...args, (error, result) => (error ? fail(error) : done(result)))
  })
}

function forked(): Forked {
  return new Forked(
    `this process (${process.pid}) was forked from one that had already loaded libworkflows, which` +
      ' does not survive fork(): start processes with child_process or cluster, which begin anew',
  )
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
