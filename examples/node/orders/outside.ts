/**
 * The world outside the database, as examples/python/orders/outside.py has it: a bank, a
 * warehouse and a post office, all of them pretended, with the same books in the same files.
 */

import { randomUUID } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as rest } from 'node:timers/promises'
import { attemptInfo } from 'libworkflows'

/** The card will not pay, however often one asks. */
export class Declined extends Error {}

/** The bank asks to come back later. */
export class BankBusy extends Error {}

/** What one of them knows, whatever becomes of the processes that ask it. */
class Book {
  constructor(private readonly name: string) {}

  /** Notes a request, and says whether it is the first with this key. */
  note(what: string, key: string, detail = ''): boolean {
    const { id, attempt } = attemptInfo()
    const line = randomUUID()
    const entry = { line, what, key, detail, execution: id, attempt, pid: process.pid }
    const path = join(process.env.ORDERS_BOOKS ?? '.', `${this.name}.jsonl`)
    appendFileSync(path, `${JSON.stringify(entry)}\n`) // in one piece, whoever else writes
    const entries = readFileSync(path, 'utf8').trimEnd().split('\n')
    const first = entries
      .map((text) => JSON.parse(text))
      .find((other) => other.what === what && other.key === key)
    return first.line === line
  }
}

const bank = new Book('bank')
const warehouse = new Book('warehouse')
const post = new Book('post')

/**
 * Takes money from a card, once per key, and answers the number of the payment.
 *
 * Cards that end in 0002 and 0069 are declined; 0119 finds the bank busy at first.
 */
export async function take(card: string, amount: string, currency: string, key: string) {
  await rest(duration(key, 'queue at the bank', 100, 300))
  if (card.endsWith('0002') || card.endsWith('0069')) {
    throw new Declined(`${card} is declined: ${card.endsWith('0002') ? 'no funds' : 'expired'}`)
  }
  if (card.endsWith('0119') && bank.note('turned away', key)) {
    throw new BankBusy('come back later')
  }
  bank.note('payment', key, `${amount} ${currency}`)
  // The money has gone. Whoever dies now will not know.
  await rest(duration(key, "bank's answer", 100, 400))
  return `pay-${crc32(key).toString(16).padStart(8, '0')}`
}

/** Puts goods aside, once per key, and answers the shelf. */
export async function putAside(item: string, quantity: number, key: string) {
  await rest(duration(key, 'ladder', 50, 300))
  warehouse.note('put aside', key, `${quantity} x ${item}`)
  return `shelf ${(crc32(item) % 40) + 1}`
}

/** Puts back what was put aside with this key. */
export async function putBack(key: string) {
  await rest(duration(key, 'ladder', 50, 300))
  warehouse.note('put back', key)
}

/** Sends a letter, once per key. */
export async function send(to: string, text: string, key: string) {
  await rest(duration(key, 'stamp', 20, 80))
  post.note('letter', key, `${to}: ${text}`)
}

/** Answers how many milliseconds something takes: by chance, but the same chance in each run. */
function duration(key: string, what: string, least: number, most: number): number {
  return least + ((most - least) * (crc32(`${what} ${key}`) % 1000)) / 1000
}

/** CRC-32 as zip has it; `zlib.crc32` is not in Node 20 before 20.15. */
function crc32(text: string): number {
  let crc = 0xffffffff
  for (const byte of Buffer.from(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1))
  }
  return (crc ^ 0xffffffff) >>> 0
}
