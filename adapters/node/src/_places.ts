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

/** Answers where the code outside of this package stands that is calling it. */
export function definitionPlace(): DefinitionPlace {
  const frames = userFrames()
  const place = frames[0] === undefined ? undefined : placeOf(frames[0])
  if (place === undefined) return { place: 'an unknown place', isTopLevel: false }
  return { place, isTopLevel: frames[1] === undefined || LOADER.test(frames[1]) }
}

function userFrames(): string[] {
  const frames = (new Error().stack ?? '').split('\n').slice(1)
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
