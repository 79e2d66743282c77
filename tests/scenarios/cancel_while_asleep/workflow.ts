import { sleep, workflow } from 'libworkflows'

export const cancelWhileAsleep = workflow('cancel_while_asleep', () => sleep('1h'))
