package memory

// Guard is one condition that the rules rest on. A mutant is a State without it, and the
// simulation has to notice.
type Guard string

// The guards.
const (
	GuardStatus     Guard = "writes only while running"
	GuardEpoch      Guard = "epoch of the lease"
	GuardToken      Guard = "token of the lease"
	GuardPosition   Guard = "suspends only at the end of the history"
	GuardKnows      Guard = "a holder has seen no more than there is"
	GuardEntryOnce  Guard = "a repeated entry is left out"
	GuardUnseen     Guard = "no end before a cancel was seen"
	GuardCancelWins Guard = "a requested cancel wins over the outcome"
	GuardWake       Guard = "news wakes who is suspended"
	GuardTold       Guard = "an end is told to the parent"
	GuardParentRun  Guard = "an end is told to the run that started it"
	GuardSignalOnce Guard = "a signal's key is taken once"
	GuardCarry      Guard = "untaken signals go on to the next run"
	GuardIDOnce     Guard = "an id is made once"
	GuardKeyOnce    Guard = "an idempotency key is taken once"
	GuardTimerDue   Guard = "a timer fires when it is due"
	GuardTimerOnce  Guard = "whoever deletes a timer fires it"
	GuardUntimed    Guard = "a cancelled timer is gone"
	GuardPromoteDue Guard = "promotion waits for the time"
	GuardAlive      Guard = "only a living worker claims"
	GuardPending    Guard = "only what is pending is claimed"
	GuardBury       Guard = "a worker that has beaten is not dead"
	GuardBeat       Guard = "the dead do not beat"
	GuardCrash      Guard = "a crash counts"
	GuardSuspect    Guard = "what crashed twice is claimed alone"
	GuardAlone      Guard = "the last crash counts only alone"
	GuardReset      Guard = "an accepted write resets the crashes"
	GuardRelease    Guard = "a release is no crash"
	GuardRetries    Guard = "retries are limited"
	GuardClose      Guard = "children are closed with their parent"
	GuardFinal      Guard = "what has ended is not ended again"
)
