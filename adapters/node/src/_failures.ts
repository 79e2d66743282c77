/** Failures in the log: a line each, whatever their messages hold. */

import { log } from './_log'

const MAX_TOLD = 300

/** What a line of the log needs to know of an execution. */
export interface Named {
  readonly kind: string
  readonly name: string
  readonly id: string
}

/** What a line of the log needs to know of an error on the wire. */
export interface Told {
  readonly type?: string | undefined
  readonly message?: string | undefined
}

/** Names an execution for the log. */
export function called(claimed: Named): string {
  return `${claimed.kind} ${claimed.name} ${claimed.id}`
}

/** Logs a failure in one line; its stack is kept with the execution. */
export function tell(who: string, error: Told, attempt?: number): void {
  const kind = error.type || 'Error'
  if (kind === 'CancelledError') return // that was asked for
  const line = (error.message ?? '').trim().split('\n', 1)[0] ?? ''
  const message = line ? `: ${[...line].slice(0, MAX_TOLD).join('')}` : ''
  const went = attempt === undefined ? 'failed' : `failed in attempt ${attempt}`
  log.warn(printable(`${who} ${went}: ${kind}${message}`))
}

// What a terminal would obey, and what a log file may not be able to hold; a space is neither.
const UNPRINTABLE = /(?! )[\p{C}\p{Z}]/gu

function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped)
}

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0
  if (character === '\n') return '\\n'
  if (character === '\r') return '\\r'
  if (character === '\t') return '\\t'
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
  if (code < 0x10000) return `\\u${code.toString(16).padStart(4, '0')}`
  return `\\U${code.toString(16).padStart(8, '0')}`
}
