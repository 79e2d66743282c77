/** What an environment throws beside the errors of production. */

/**
 * Nothing can run, nothing is due, and somebody waits all the same.
 *
 * The message says what each workflow waits for, such as a signal that nobody sends.
 */
export class Stuck extends Error {
  override readonly name = 'Stuck'
}

/** It does not come to an end: too many runs, or time beyond the environment's limit. */
export class Endless extends Error {
  override readonly name = 'Endless'
}
