import { workflow } from 'libworkflows'

export const unsafeArgument = workflow('unsafe_argument', async (numbers: number[]) =>
  String(numbers[1]),
)
