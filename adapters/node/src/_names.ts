/** Lists in lines of the log. */

const NAMED = 10 // how many of a kind a line names

/** Answers names with what they are of: "queue a", "queues a b and 3 more". */
export function names(what: string, found: readonly string[]): string {
  if (found.length === 1) return `${what} ${found[0]}`
  const more = found.length > NAMED ? ` and ${found.length - NAMED} more` : ''
  const plural = what.endsWith('y') ? `${what.slice(0, -1)}ies` : `${what}s`
  return `${plural} ${found.slice(0, NAMED).join(' ')}${more}`
}
