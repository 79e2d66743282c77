/** Where in the user's code something was called. */

/** Where a function was defined. */
export interface DefinitionPlace {
  /** FILE:LINE:COLUMN, or "an unknown place". */
  readonly place: string
  /** Whether it was at the top level of a module. */
  readonly isTopLevel: boolean
}

const FRAME = /^\s+at (?:.*? \()?(?:async )?(.+?:\d+:\d+)\)?$/
const LOADER = /node:internal\/modules\//
// How the code of a module itself appears; compilers wrap it into a function without a name.
const MODULE = /^\s+at (?:(?:Object\.)?<anonymous> \(|(?:file:\/\/)?[^ ()]+$)/
const MAX_FRAMES = 30

/** Answers where the code outside of this package stands that is calling it. */
export function definitionPlace(): DefinitionPlace {
  const frames = userFrames()
  const place = frames[0] === undefined ? undefined : placeOf(frames[0])
  return { place: place ?? 'an unknown place', isTopLevel: isTopLevel(frames) }
}

/** Whether nothing but the code of a module stands between its loader and the call. */
function isTopLevel(frames: readonly string[]): boolean {
  const loader = frames.findIndex((frame) => LOADER.test(frame))
  return loader > 0 && frames.slice(0, loader).every((frame) => MODULE.test(frame))
}

function userFrames(): string[] {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = MAX_FRAMES
  const frames = (new Error().stack ?? '').split('\n').slice(1)
  Error.stackTraceLimit = limit
  const first = frames.findIndex((frame) => !isOurs(frame))
  return first < 0 ? [] : frames.slice(first)
}

/** Says whether a line of a stack is of this package. */
export function isOurs(frame: string): boolean {
  return placeOf(frame)?.startsWith(HERE) ?? false
}

/** Answers FILE:LINE:COLUMN of a line of a stack. */
function placeOf(frame: string): string | undefined {
  return FRAME.exec(frame)?.[1]?.replace(/^file:\/\//, '')
}

const HERE = `${__dirname}/`
