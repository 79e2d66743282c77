/** Numbers in JSON that a JavaScript number cannot hold. */

/** A number that was found, by the keys that lead to it. */
export interface UnsafeNumber {
  readonly keys: readonly (string | number)[]
  readonly reason: string
}

// Sixteen digits in a row, or an exponent of three: what has neither can be held. In texts it
// finds things too, which costs an exact look and no more.
const SUSPICIOUS = [/(?:^|[[:,\s])-?\d{16}/, /\d[eE]\+?\d{3,}(?:[,}\]\s]|$)/] // apart: twice as fast
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const INTEGER = /^-?\d+$/

/** Answers the numbers in a JSON text that JavaScript would change in silence. */
export function unsafeNumbers(text: string): UnsafeNumber[] {
  return SUSPICIOUS.some((pattern) => pattern.test(text)) ? [...scanned(text)] : []
}

/** The array or object that the scan is in: the index or key of its current member. */
interface Level {
  key: string | number
  /** In an object: what comes next is a key. */
  expectsKey: boolean
}

function* scanned(text: string): Generator<UnsafeNumber> {
  const levels: Level[] = []
  for (let at = 0; at < text.length; ) {
    const character = text.charAt(at)
    if (character === '"') {
      at = skipText(text, at, levels.at(-1))
    } else if (character === '-' || (character >= '0' && character <= '9')) {
      const number = numberAt(text, at)
      const reason = reasonAgainst(number)
      if (reason !== undefined) yield { keys: levels.map(({ key }) => key), reason }
      at += number.length
    } else {
      punctuate(character, levels)
      at++
    }
  }
}

function punctuate(character: string, levels: Level[]): void {
  const level = levels.at(-1)
  if (character === '{') levels.push({ key: '', expectsKey: true })
  else if (character === '[') levels.push({ key: 0, expectsKey: false })
  else if (character === '}' || character === ']') levels.pop()
  else if (level === undefined) return
  else if (character === ':') level.expectsKey = false
  else if (character === ',' && typeof level.key === 'number') level.key++
  else if (character === ',') level.expectsKey = true
}

/** Notes a text if it is a key, and answers where it ends. */
function skipText(text: string, start: number, level: Level | undefined): number {
  let end = text.indexOf('"', start + 1)
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1)
  if (level?.expectsKey) level.key = JSON.parse(text.slice(start, end + 1)) as string
  return end + 1
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0
  while (text[at - 1 - backslashes] === '\\') backslashes++
  return backslashes % 2 === 1
}

function numberAt(text: string, at: number): string {
  NUMBER.lastIndex = at
  return NUMBER.exec(text)?.[0] ?? text.charAt(at)
}

function reasonAgainst(text: string): string | undefined {
  const value = Number(text)
  const shown = text.length <= 40 ? text : `${text.slice(0, 20)}...${text.slice(-10)}`
  if (!Number.isFinite(value)) return `${shown} is too large for a JavaScript number`
  if (Number.isSafeInteger(value) || !INTEGER.test(text)) return undefined
  // What JavaScript writes for a large number need not be its exact value: 2**60 is written as
  // 1152921504606847000. It reads back as the same number, and is written the same again.
  if (String(value) === text || BigInt(value) === BigInt(text)) return undefined
  return `${shown} is an integer that a JavaScript number cannot hold; send it as text`
}
