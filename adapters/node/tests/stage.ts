/** The stage of a test: an embedded PostgreSQL, workers that can be killed, and a journal. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Client, replaceDefault } from '../src/_client'
import { Worker, type WorkerOptions } from '../src/_worker'
import type { Entry } from './stage_functions'

const PATIENCE = 30_000
const HERE = __dirname
const ROOT = join(HERE, '..', '..', '..')

const { WORKFLOWS_TEST_POSTGRES_BIN: binaries } = process.env
if (binaries) process.env.WORKFLOWS_POSTGRES_BIN ??= binaries

/** Short times, so that a dead worker is missed soon. */
export const TIMES = {
  WORKFLOWS_WORKER_HEARTBEAT_INTERVAL: '0.2',
  WORKFLOWS_WORKER_HEARTBEAT_TIMEOUT: '1',
  WORKFLOWS_WORKER_POLL_INTERVAL: '0.5',
}

/** The Python of this checkout, if it has one with the adapter in it. */
export const PYTHON = [process.env.WORKFLOWS_TEST_PYTHON, join(ROOT, '.venv/bin/python')].find(
  (path) => path && existsSync(path),
)

/** A directory that is removed after the tests. */
export function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'workflows-stage-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A worker in a process of its own. */
export class WorkerProcess {
  output = ''
  readonly ended: Promise<number | null>

  constructor(readonly process: ChildProcess) {
    for (const stream of [process.stdout, process.stderr]) {
      stream?.on('data', (text) => {
        this.output += text
      })
    }
    this.ended = new Promise((resolve) => process.on('close', (code) => resolve(code)))
  }

  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal)
  }

  /** Ends it, if it has not ended. */
  async clear(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGKILL')
    }
    await this.ended
  }
}

/** What one test has: the database is the file's, the journal and the workers are its own. */
export class Stage {
  readonly directory = temporary()
  readonly client: Client
  readonly schema = `stage_${Math.random().toString(36).slice(2)}`
  readonly #workers: WorkerProcess[] = []
  readonly #here: Worker[] = []

  constructor(
    t: TestContext,
    readonly url: string,
  ) {
    this.client = new Client({ url, schema: this.schema })
    const former = replaceDefault(this.client)
    t.after(async () => {
      for (const worker of this.#here) await worker.close()
      for (const worker of this.#workers) await worker.clear()
      await this.client.close()
      replaceDefault(former)
    })
  }

  /** Starts a worker in the process of the test. */
  async start(options: WorkerOptions): Promise<Worker> {
    const worker = await new Worker(options).start()
    this.#here.push(worker)
    return worker
  }

  /** Starts a worker of this package in a process of its own. */
  spawn(
    name: string,
    environment: Record<string, string> = {},
    queues = ['default'],
  ): WorkerProcess {
    const script = join(HERE, 'stage_worker.ts')
    const command = [process.execPath, '--import', 'tsx', script, ...queues]
    return this.run(command, { STAGE_WORKER: name, ...environment })
  }

  /** Starts a worker of the Python adapter, for a module in the stage's directory. */
  spawnPython(module: string, queues: readonly string[]): WorkerProcess {
    const named = queues.flatMap((queue) => ['-q', queue])
    return this.run([PYTHON ?? 'python3', '-m', 'workflows', 'worker', '-m', module, ...named], {})
  }

  run([program = '', ...args]: string[], environment: Record<string, string>): WorkerProcess {
    const env = {
      ...process.env,
      ...TIMES,
      WORKFLOWS_DATABASE_URL: this.url,
      WORKFLOWS_SCHEMA: this.schema,
      STAGE_DIRECTORY: this.directory,
      NODE_PATH: join(ROOT, 'node_modules'),
      ...environment,
    }
    const cwd = program === process.execPath ? HERE : this.directory
    const worker = new WorkerProcess(spawn(program, args, { env, cwd, stdio: 'pipe' }))
    this.#workers.push(worker)
    return worker
  }

  /** Lets bodies go on that wait at the gate. */
  open(): void {
    writeFileSync(join(this.directory, 'open'), '')
  }

  /** What bodies have written. */
  journal(): Entry[] {
    const path = join(this.directory, 'journal')
    if (!existsSync(path)) return []
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line))
  }

  /** How often something was written, by one worker or by all. */
  count(what: string, worker?: string): number {
    const isIt = (entry: Entry) => entry.what === what && (worker ?? entry.worker) === entry.worker
    return this.journal().filter(isIt).length
  }

  /** Waits until something is true, and shows what the workers said if it does not become so. */
  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const deadline = performance.now() + PATIENCE
    while (!(await condition())) {
      const said = () => this.#workers.map(({ output }) => output).join('\n--\n')
      assert.ok(performance.now() < deadline, `waited for ${what} in vain\n${said()}`)
      await pause(20)
    }
  }
}
