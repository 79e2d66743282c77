/** What the engine in memory does not store. */
import { Fault, type Json } from './_rows'

export const MAX_PAYLOAD = 1 << 20

/**
 * Refuses a payload that the library would not store.
 *
 * @throws Fault - one of them is over a mebibyte.
 */
export function checkSizes(item: Json): void {
  for (const name of ['args', 'kwargs', 'result', 'error', 'payload', 'progress']) {
    checkSize(name, item[name])
  }
  for (const name of ['commands', 'events']) {
    for (const each of item[name] ?? []) {
      const parts = { ...each, ...each.execution }
      for (const part of ['args', 'kwargs', 'state', 'payload']) {
        checkSize(`${name}.${part}`, parts[part])
      }
    }
  }
}

function checkSize(path: string, value: unknown): void {
  if (value === undefined || value === null) return
  if (typeof value === 'boolean' || typeof value === 'number') return
  const bytes = Buffer.byteLength(JSON.stringify(value))
  if (bytes <= MAX_PAYLOAD) return
  throw new Fault(
    'payload_too_large',
    `${path} has ${bytes} bytes; at most ${MAX_PAYLOAD} are stored: keep large values` +
      ' elsewhere and pass a reference',
    { path, bytes, limit: MAX_PAYLOAD },
  )
}
