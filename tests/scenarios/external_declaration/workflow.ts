import { activity, workflow } from 'libworkflows'
import { other } from '../scenario'

// What runs if the other language is this one; the workflow knows the declaration alone.
activity('external_declaration.print_label', async (item: string, copies: number) =>
  Array.from({ length: copies }, () => `label of ${item}`),
)

const printLabel = activity.external<(item: string, copies: number) => string[]>(
  'external_declaration.print_label',
)

export const externalDeclaration = workflow('external_declaration', () =>
  other(printLabel).run('lamp', 2),
)
