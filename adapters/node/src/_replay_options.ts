/** What `workflows replay` was asked for. */

import { parseArgs } from 'node:util'
import type { Status } from './_operations'

/** The states of workflows that have not ended. */
export const OPEN: readonly Status[] = ['scheduled', 'pending', 'running', 'suspended']
const STATUSES: readonly Status[] = [...OPEN, 'completed', 'failed']

/** What the arguments of `workflows replay` say. */
export interface ReplayOptions {
  readonly modules: readonly string[]
  readonly ids: readonly string[]
  readonly files: readonly string[]
  readonly statuses: readonly Status[]
  readonly names: readonly string[]
  readonly limit: number
  readonly json: boolean
  readonly databaseUrl: string | undefined
  readonly schema: string | undefined
}

/** The command is wrong, in what was asked or in what it was given. */
export class CommandError extends Error {}

export const HELP = `usage: workflows replay -m MODULE [--id ID] [--file FILE ...] [--status STATUS]
                        [--name NAME] [--limit N] [--json] [--database-url URL] [--schema NAME]

Replay stored histories with the code of today. Nothing is run and nothing written: no activity,
no step. Without --id and --file these are all workflows of the modules that are not finished.

options:
  -h, --help            show this help message and exit
  -m, --module MODULE   module with the workflows, as for import; may be given several times
  --id ID               one of the database
  --file FILE ...       what \`workflows history ID --json\` printed
  --status STATUS       of the workflows, instead of all that are not finished
  --name NAME           of the workflow's function
  --limit N             stop after so many
  --json                print one JSON document
  --database-url URL    default $WORKFLOWS_DATABASE_URL
  --schema NAME         default $WORKFLOWS_SCHEMA

Exit status: 0 all fit, 1 one does not, 2 the command is wrong. To keep a history beside the
tests: workflows history ID --json > order.json
`

const several = { type: 'string', multiple: true } as const
const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  module: { ...several, short: 'm' },
  id: several,
  file: several,
  status: several,
  name: several,
  limit: { type: 'string' },
  json: { type: 'boolean' },
  'database-url': { type: 'string' },
  schema: { type: 'string' },
} as const

/**
 * Answers what the arguments behind `workflows replay` say; undefined if they ask for help.
 *
 * @throws {CommandError} They make no sense.
 */
export function parseReplay(args: readonly string[]): ReplayOptions | undefined {
  const { values, files } = parsed(args)
  if (values.help) return undefined
  const limit = Number(values.limit ?? 0)
  if (values.module === undefined) throw new CommandError('-m MODULE is required')
  if (!Number.isInteger(limit))
    throw new CommandError(`--limit must be a number, not ${values.limit}`)
  for (const status of values.status ?? []) {
    if (STATUSES.includes(status as Status)) continue
    throw new CommandError(`--status is one of ${STATUSES.join(', ')}, not ${status}`)
  }
  return {
    modules: values.module,
    ids: values.id ?? [],
    files,
    statuses: (values.status as Status[] | undefined) ?? OPEN,
    names: values.name ?? [],
    limit,
    json: values.json ?? false,
    databaseUrl: values['database-url'],
    schema: values.schema,
  }
}

function parsed(args: readonly string[]) {
  try {
    const { values, tokens } = parseArgs({
      args: [...args],
      options: OPTIONS,
      allowPositionals: true,
      tokens: true,
    })
    return { values, files: filesOf(tokens) }
  } catch (error) {
    throw new CommandError((error as Error).message)
  }
}

interface Token {
  readonly kind: string
  readonly name?: string
  readonly value?: string | boolean | undefined
}

/** A --file may be followed by several. */
function filesOf(tokens: readonly Token[]): string[] {
  const files: string[] = []
  let isOpen = false
  for (const token of tokens) {
    if (token.kind === 'option') {
      isOpen = token.name === 'file'
      if (isOpen) files.push(String(token.value))
    } else if (token.kind === 'positional') {
      if (!isOpen) throw new CommandError(`nobody asked for '${token.value}'`)
      files.push(String(token.value))
    }
  }
  return files
}
