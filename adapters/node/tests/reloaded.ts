/** A module that a test loads twice, as a development server does. */

import { job } from '../src/_functions'

export const reloaded = job('reloaded', () => 'again')
