package main

// row is one of the audit table.
type row struct {
	n, at, txid                int64
	x                          id
	oldEpoch, newEpoch         int64
	oldToken, newToken, worker id
	hash                       id
	runAt, eventAt, seenAt     int64 // seenAt is 0 where nobody has asked when it was committed
	tab, op, oldStatus         symbol
	newStatus, event           symbol
	statement, writer, parked  symbol
	run, crashes, releases     int32
	attempts, failures         int32
	length, position, sequence int32
	cancel, alone              bool
}

// event is a row of the history as it was left.
type event struct {
	x, hash       id
	nonce         id // of an outcome: those in it, as one
	at            int64
	event, name   symbol
	run, position int32
	sequence      int32
	uid           int32 // of a signal: which, counted from 1
	delayMS       int64 // of a timer
}

// execution is a row as it was left.
type execution struct {
	id, parent, worker, token    id
	parentRun, sequence, run     int32
	length, attempts, failures   int32
	crashes, releases            int32
	epoch                        int64
	kind, name, queue, status    symbol
	parked, language             symbol
	runAt, createdAt, finishedAt int64
	deadlineAt                   int64
	cancel, reported             bool
	key, result, failure         string
	uids                         []int32 // that its arguments name
	nonce                        id      // of its result
}

// call is what a client asked for and was told. to is 0 if nothing was.
type call struct {
	client, op, outcome, code symbol
	status, name, kind        symbol
	x                         id
	from, to                  int64
	key, value                string
	uid                       int32
	created                   bool
	hasCreated                bool
}

// line is one of a worker's journal.
type line struct {
	x, worker, token id
	nonce            id    // of a body, or all that code saw in an outcome, as one
	at, epoch        int64 // epoch is -1 if the body does not know it
	t, step, signal  symbol
	code, file       symbol
	sequence         int32 // -1 for an execution's own body
	attempt, pid     int32
	run              int32 // of what code saw
	uid              int32
	winner           symbol
	ok               bool
}

type timer struct {
	x             id
	kind          symbol
	run, sequence int32
	dueAt         int64
}

type worker struct {
	id                   id
	name, language       symbol
	status               symbol
	concurrency          int
	timeout              int64
	startedAt, heartbeat int64
	queues               []string
}

type injected struct {
	kind, target string
	at           int64
}

// limits are what a scenario allows; zero values are the defaults.
type limits struct {
	CrashLimit    int   `json:"crash_limit"`
	ClockSlackMS  int64 `json:"clock_slack_ms"`
	WakeSlackMS   int64 `json:"wake_slack_ms"`
	RecoverySlack int64 `json:"recovery_slack_ms"`
	GraceMS       int64 `json:"grace_ms"`
	// LostAcks: a fail-over to a replica that lags loses what was acknowledged last.
	LostAcks bool `json:"lost_acks"`
	// Mismatches: workflows are parked because their code has changed.
	Mismatches bool `json:"mismatches"`
}

type meta struct {
	Seed               any    `json:"seed"`
	Commit             string `json:"commit"`
	Scenario           string `json:"scenario"`
	HeartbeatTimeoutMS int64  `json:"heartbeat_timeout_ms"`
	PollMS             int64  `json:"poll_ms"`
	OffsetNS           int64  `json:"boottime_offset_ns"`
	Limits             limits `json:"limits"`
}

// evidence is all that is known of a run.
type evidence struct {
	meta       meta
	symbols    *symbols
	uids       []string
	audit      []row // of executions and history
	beats      []row // of workers
	events     []event
	executions []execution
	timers     []timer
	workers    []worker
	calls      []call
	writes     []write
	lines      []line
	faults     []injected
	calmAt     int64
	overAt     int64
	deadlocks  int
	hasLog     bool
	sessions   []string // that were left, as text
}
