#!/usr/bin/env node
/**
 * The command line: the library's, and what only Node can run: worker and replay.
 *
 * What a command does not need is not loaded for it; by `require`, which gives the same instances
 * of these modules as the user's code has.
 */

import { parseArgs } from 'node:util'
import { WorkflowsError } from './_errors'

const PROGRAM = 'workflows'
// The library's global flags that take a value; they may come first.
const VALUED = ['--database-url', '--schema']

const WORKER_HELP = `usage: ${PROGRAM} worker [-h] -m MODULE [-q QUEUE] [--concurrency N]
                        [--database-url URL] [--schema NAME]

Run the jobs, activities and workflows of the modules that are named, until SIGTERM or
Ctrl-C. The first of these lets what runs finish; a second puts it back at once.

options:
  -h, --help            show this help message and exit
  -m, --module MODULE   file or package with the functions, as seen from the working
                        directory; may be given several times
  -q, --queue QUEUE     queue to serve; may be given several times (default: default)
  --concurrency N       executions at a time (default $WORKFLOWS_WORKER_MAX_CONCURRENT,
                        then 10)
  --database-url URL    default $WORKFLOWS_DATABASE_URL
  --schema NAME         default $WORKFLOWS_SCHEMA

example: ${PROGRAM} worker -m dist/orders.js -q orders -q default --concurrency 20
`

/** A command was called in a way that it does not know. */
class UsageError extends Error {}

/**
 * Runs the command line and answers the status to exit with.
 *
 * `worker`, `replay` and `--version` are this package's; everything else is the library's, and
 * blocks until it is done.
 *
 * @param args Without the program's name. Default the process's.
 */
export async function main(args: readonly string[] = process.argv.slice(2)): Promise<number> {
  try {
    if (args.length === 1 && args[0] === '--version') return showVersion()
    const at = commandAt(args)
    if (args[at] === 'worker') return await worker(without(args, at))
    if (args[at] === 'replay') return await replay(without(args, at))
    return library(args)
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${WORKER_HELP.split('\n\n')[0]}\n${PROGRAM} worker: ${error.message}\n`)
      return 2
    }
    if (!(error instanceof WorkflowsError)) throw error
    process.stderr.write(`error: ${error.message}\n`)
    return error.code === 'invalid_config' ? 2 : 1
  }
}

/** Answers where the command stands behind global flags, some of which take a value. */
function commandAt(args: readonly string[]): number {
  let at = 0
  while (args[at]?.startsWith('-')) at += VALUED.includes(args[at] as string) ? 2 : 1
  return at
}

function without(args: readonly string[], at: number): string[] {
  return args.filter((_, i) => i !== at)
}

function showVersion(): number {
  const { Library } = require('./_library') as typeof import('./_library')
  const { VERSION } = require('./_version') as typeof import('./_version')
  process.stdout.write(`${PROGRAM} ${VERSION} (Node ${process.versions.node})\n`)
  const { buildInfo, path } = Library.get()
  process.stdout.write(`library ${buildInfo.version} (${buildInfo.commit}), ${path}\n`)
  return 0
}

/**
 * Runs a command of the library.
 *
 * It writes to the descriptors itself, so nothing here may touch `process.stdout` first: Node
 * would make a pipe or a terminal non-blocking. Node's own handler lets Ctrl-C end it.
 */
function library(args: readonly string[]): number {
  const { postgresBinaries } = require('./_embedded') as typeof import('./_embedded')
  const { Library } = require('./_library') as typeof import('./_library')
  // The command line opens an engine of its own, which finds the package's server by this alone.
  const [binaries] = postgresBinaries()
  if (binaries !== undefined) setDefault('WORKFLOWS_POSTGRES_BIN', binaries)
  return Library.get().runCommandLine([PROGRAM, ...args])
}

function setDefault(name: string, value: string): void {
  process.env[name] ??= value
}

// --- the worker ---------------------------------------------------------------------------

async function worker(args: readonly string[]): Promise<number> {
  const { values } = parsed(args)
  if (values.help) {
    process.stdout.write(WORKER_HELP)
    return 0
  }
  if (values.module === undefined) throw new UsageError('error: -m MODULE is required')
  const concurrency = positive('--concurrency', values.concurrency)
  const { loadModules } = require('./_modules') as typeof import('./_modules')
  const { configure } = require('./_client') as typeof import('./_client')
  const { setLogLevel } = require('./_log') as typeof import('./_log')
  const { Worker } = require('./_worker') as typeof import('./_worker')
  const { 'database-url': url, schema } = values
  configure({ ...(url !== undefined && { url }), ...(schema !== undefined && { schema }) })
  setLogLevel('info')
  if (!(await loadModules(values.module))) return 2
  await new Worker({ queues: values.queue ?? ['default'], concurrency }).run()
  return 0
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h' },
        module: { type: 'string', short: 'm', multiple: true },
        queue: { type: 'string', short: 'q', multiple: true },
        concurrency: { type: 'string' },
        'database-url': { type: 'string' },
        schema: { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError(`error: ${(error as Error).message}`, { cause: error })
  }
}

function positive(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[0-9]+$/.test(text) || Number(text) < 1) {
    throw new UsageError(`error: ${name}: must be 1 or more, not '${text}'`)
  }
  return Number(text)
}

async function replay(args: readonly string[]): Promise<number> {
  const { CommandError, HELP, parseReplay, runReplay } =
    require('./_replay_command') as typeof import('./_replay_command')
  const { loadModules } = require('./_modules') as typeof import('./_modules')
  try {
    const options = parseReplay(args)
    if (options === undefined) {
      process.stdout.write(HELP)
      return 0
    }
    return (await loadModules(options.modules)) ? await runReplay(options) : 2
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    process.stderr.write(`${PROGRAM} replay: error: ${error.message}\n`)
    return 2
  }
}

if (require.main === module) {
  // A body that was given up may keep the process busy: it ends all the same.
  main().then(
    (status) => process.exit(status),
    (error) => {
      console.error(error)
      process.exit(1)
    },
  )
}
