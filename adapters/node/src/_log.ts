/** What the adapter has to say, in one place: to stderr, or to a logger of the user's. */

/** How much something matters, from least to most. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/**
 * Takes what the adapter logs. `console` is one, and so are the loggers of pino and winston.
 *
 * The error, if there is one, comes second.
 */
export type Logger = { readonly [level in LogLevel]: (message: string, error?: unknown) => void }

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const SHOWN = { debug: 'DEBUG', info: 'INFO', warn: 'WARNING', error: 'ERROR' } as const

let lowest: LogLevel = 'warn'

const toStderr: Logger = {
  debug: (message, error) => write('debug', message, error),
  info: (message, error) => write('info', message, error),
  warn: (message, error) => write('warn', message, error),
  error: (message, error) => write('error', message, error),
}

let current = toStderr

/**
 * Has everything that the adapter logs go to a logger of your own.
 *
 * Levels are that logger's affair then. Without one, warnings and errors go to stderr, a line
 * each; `workflows worker` writes what is worth knowing as well.
 *
 * @param logger `Console`, or what pino or winston made. Default: stderr again.
 *
 * @example
 * ```ts
 * setLogger(pino())
 * ```
 */
export function setLogger(logger: Logger | null = null): void {
  for (const level of logger === null ? [] : LEVELS) {
    if (typeof logger?.[level] !== 'function') {
      throw new TypeError(`a logger must have a method ${level}()`)
    }
  }
  current = logger ?? toStderr
}

/** Says from which level on the lines go to stderr. Default 'warn'. */
export function setLogLevel(level: LogLevel): void {
  if (!LEVELS.includes(level)) {
    throw new TypeError(`a level is one of ${LEVELS.join(', ')}, not ${String(level)}`)
  }
  lowest = level
}

/** Where the adapter's modules log to: the logger of the moment. */
export const log: Logger = {
  debug: (message, error) => tell('debug', message, error),
  info: (message, error) => tell('info', message, error),
  warn: (message, error) => tell('warn', message, error),
  error: (message, error) => tell('error', message, error),
}

function tell(level: LogLevel, message: string, error: unknown): void {
  try {
    if (error === undefined) current[level](message)
    else current[level](message, error)
  } catch {
    // What cannot be logged must not end a worker.
  }
}

function write(level: LogLevel, message: string, error: unknown): void {
  if (LEVELS.indexOf(level) < LEVELS.indexOf(lowest)) return
  const at = new Date().toISOString().replace('T', ' ').replace('.', ',').replace('Z', '')
  const stack = error instanceof Error && error.stack ? error.stack : undefined
  const more = error === undefined ? '' : `\n${stack ?? String(error)}`
  process.stderr.write(`${at} ${SHOWN[level]} ${message}${more}\n`)
}
