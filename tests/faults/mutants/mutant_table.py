"""The mutants: the library with one guard taken out of it, each by a change of its text.

A rig that does not notice that a guard is missing proves nothing about the guard. A change
whose old text is no longer there, as often as it says, fails: whoever changes a guard has to
look here.
"""

from __future__ import annotations

from dataclasses import dataclass

STORE = "core/store"
ENGINE = "core/engine"


@dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str
    times: int = 1


@dataclass(frozen=True)
class Mutant:
    name: str
    without: str
    edits: tuple[Edit, ...]
    scenario: str
    """Of the rig, that is to catch it."""
    tests: str = ""
    """Go tests that are to notice it as well, as a regular expression."""
    seconds: float = 5
    """How long a run of the rig lasts; it is repeated until the rig objects."""
    patience: float = 20
    """For what is left after it, before that is objected to."""
    remark: str = ""
    """What is to be known of it."""


def _leases(epoch: str, token: str) -> tuple[Edit, ...]:
    """What a write under a lease compares, everywhere."""
    of = f"{epoch} AND {token}"

    def held(file: str, row: str, times: int = 1) -> Edit:
        old = f"e.status = 'running' AND e.epoch = {row}.epoch AND e.token = {row}.token"
        return Edit(f"{STORE}/{file}", old, f"e.status = 'running' AND {of.format(row)}", times)

    finish = f"e.status <> 'running' OR NOT ({of.format('x')})"
    plain = "%[1]s.epoch = %[2]s.epoch AND %[1]s.token = %[2]s.token ELSE"
    of_plain = of.replace("e.", "%[1]s.").replace("{0}.", "%[2]s.") + " ELSE"
    return (
        Edit(f"{STORE}/plain.go", plain, of_plain),
        held("advance.go", "i"),
        held("continue.go", "x"),
        held("release.go", "x", 3),
        Edit(
            f"{STORE}/finish.go",
            "e.status <> 'running' OR e.epoch <> x.epoch OR e.token IS DISTINCT FROM x.token",
            finish,
        ),
    )


_TOLD_FIRST = """\
func (p *pipeline) begin(ctx context.Context, conn *pgxpool.Conn) error {
	names := " "
	for _, step := range p.steps {
		names += step.stmt.name + " "
	}
	if !strings.Contains(names, " STATEMENT ") || strings.Contains(names, " create") {
		return nil
	}
	_, err := conn.Exec(ctx, "BEGIN")
	return err
}

func commit(conn *pgxpool.Conn) {
	if conn.Conn().PgConn().TxStatus() != 'T' {
		conn.Release()
		return
	}
	time.AfterFunc(20*time.Millisecond, func() {
		_, _ = conn.Exec(context.Background(), "COMMIT")
		conn.Release()
	})
}
"""

_TOLD_REMARK = "the commit follows 20 ms later, so that a kill comes in between"


def _told_first(statement: str) -> tuple[Edit, ...]:
    """Answer the edits by which who has this statement sent is told before its commit."""
    file = f"{STORE}/pipeline.go"
    parts = _TOLD_FIRST.replace("STATEMENT", statement)
    return (
        Edit(file, "\tdefer conn.Release()\n\tif is", "\tdefer commit(conn)\n\tif is"),
        Edit(
            file,
            "\tresults := conn.SendBatch(ctx, &p.batch)\n\terr := p.collect(results)\n",
            "\tif err := p.begin(ctx, conn); err != nil {\n\t\treturn err\n\t}\n"
            "\tresults := conn.SendBatch(ctx, &p.batch)\n\terr := p.collect(results)\n",
        ),
        Edit(file, "// failed leaves", f"{parts}\n// failed leaves"),
        Edit(file, '\t"slices"\n', '\t"slices"\n\t"strings"\n'),
    )


MUTANTS = (
    Mutant(
        "no_fencing",
        "the lease: whoever writes to what runs is believed to hold it",
        _leases("true", "true"),
        scenario="zombie",
        tests="TestEveryWriteUnderALease",
    ),
    Mutant(
        "no_epoch",
        "the epoch in the lease",
        _leases("true", "e.token = {0}.token"),
        scenario="forged",
        tests="TestEveryWriteUnderALease",
    ),
    Mutant(
        "no_token",
        "the token in the lease",
        _leases("e.epoch = {0}.epoch", "true"),
        scenario="forged",
        tests="TestEveryWriteUnderALease",
    ),
    Mutant(
        "unordered_locks",
        "the order in which a batch locks its rows",
        (
            Edit(
                f"{STORE}/pipeline.go",
                "SELECT e.id FROM wanted CROSS",
                "SELECT e.id FROM (SELECT id FROM wanted ORDER BY random()) wanted CROSS",
            ),
        ),
        scenario="overlap",
        tests="TestABatchLocksItsRows",
    ),
    Mutant(
        "no_locks",
        "the lock before a batch: what follows decides on what it does not hold",
        (
            Edit(
                f"{STORE}/flush.go",
                "if ids, parents, sequences := b.targets(); len(ids) > 0 {",
                "if ids, parents, sequences := b.targets(); len(ids) < 0 {",
            ),
        ),
        scenario="overlap",
    ),
    Mutant(
        "unlocked_claims",
        "the lock of a claim",
        (Edit(f"{STORE}/claim.go", "        FOR NO KEY UPDATE SKIP LOCKED) p", "        ) p"),),
        scenario="kill9",
    ),
    Mutant(
        "notify_only",
        "polling for what is due: a worker looks when it is told to",
        (
            Edit(
                f"{ENGINE}/ticker.go",
                "\tfor _, queue := range due.Queues {",
                "\tfor _, queue := range due.Queues[:0] {",
            ),
        ),
        scenario="no_notify",
        tests="TestWithoutHintsWorkIsFound",
    ),
    Mutant(
        "worker_clock_for_timers",
        "the database's clock for timers; the worker's is an hour ahead",
        (
            Edit(
                f"{STORE}/timers.go",
                "t.kind = 'sleep' AND t.due_at <= clock_timestamp()",
                "t.kind = 'sleep' AND t.due_at <= $2",
            ),
            Edit(
                f"{STORE}/timers.go",
                "FROM workflows.timers WHERE due_at <= now() ORDER BY",
                "FROM workflows.timers WHERE due_at <= now() + interval '1 hour' ORDER BY",
            ),
            Edit(
                f"{STORE}/timers.go",
                "\t\tfired = append(fired, w)\n\t\treturn err\n\t}, ids)",
                "\t\tfired = append(fired, w)\n\t\treturn err\n\t}, ids, time.Now().Add(3600e9))",
            ),
            Edit(
                f"{ENGINE}/ticker.go",
                "\tif wait := at.Sub(now); wait > 0 {",
                "\tif wait := at.Sub(now.Add(time.Hour)); wait > 0 {",
            ),
        ),
        scenario="timers",
        patience=120,  # the last of its timers is due after a minute
        tests="TestATimer",
    ),
    Mutant(
        "worker_clock_for_leases",
        "the database's clock for leases; the worker's is an hour ahead",
        (
            Edit(
                f"{STORE}/workers.go",
                "\t\tx.Timeout = time.Duration(ms) * time.Millisecond\n",
                "\t\tx.Timeout = time.Duration(ms) * time.Millisecond\n"
                "\t\tx.Overdue = time.Now().Add(time.Hour).Sub(x.HeartbeatAt) >= x.Timeout\n",
            ),
            Edit(f"{ENGINE}/recover.go", "now.Sub(before.since) >= s.Timeout/2", "true"),
        ),
        scenario="zombie",
        tests="TestWhatAnOutageShowsMakesNobodyDead",
    ),
    Mutant(
        "crash_not_counted",
        "the count of crashes",
        (
            Edit(
                f"{STORE}/workers.go",
                "THEN e.crashes ELSE e.crashes + 1 END",
                "THEN e.crashes ELSE e.crashes END",
            ),
        ),
        scenario="poison",
        patience=25,
        tests="TestAPoisonPillIsParked",
    ),
    Mutant(
        "blind_suspend",
        "the position in a suspend: news that came meanwhile wakes nobody",
        (
            Edit(
                f"{STORE}/advance.go",
                "held.suspend AND NOT held.waking AND e.history_length = held.position",
                "held.suspend AND NOT held.waking",
                2,
            ),
        ),
        scenario="races",
        tests="TestSuspendingWhereNewsHasCome|TestASignalAtTheMoment",
    ),
    Mutant(
        "plain_is_blind",
        "the position in what is written by one update: news that came meanwhile is overlooked",
        (
            Edit(
                f"{STORE}/plain.go",
                "THEN e.history_length = x.position ELSE x.ends END",
                "THEN e.history_length >= x.position ELSE x.ends END",
            ),
        ),
        scenario="races",
        tests="Cancel|Signal|News|Repeat|AReplyThatIsLost",
    ),
    Mutant(
        "plain_is_deaf",
        "the look at a request to stop in what is written by one update",
        (
            Edit(
                f"{STORE}/plain.go",
                "NOT x.ends OR e.cancel_requested_at IS NULL AND e.parent_id IS NULL",
                "NOT x.ends OR e.parent_id IS NULL",
            ),
        ),
        scenario="races",
        tests="Cancel",
    ),
    Mutant(
        "signals_by_number",
        "the key of a signal",
        (Edit(f"{STORE}/signal.go", "AND NOT x.known AND NOT x.again) x", "AND NOT x.again) x"),),
        scenario="forged",
        tests="TestAReplyThatIsLost",
        remark="a unique index stands behind it: a repeat is an error then, and no second signal",
    ),
    Mutant(
        "advance_twice",
        "the look whether a repeated write is there already",
        (
            Edit(
                f"{STORE}/advance.go",
                "        AND h.type = g.type AND h.sequence = g.sequence OFFSET 0)),",
                "        AND h.type = g.type AND h.sequence = g.sequence AND false OFFSET 0)),",
            ),
        ),
        scenario="cut_commit",
        tests="TestAReplyThatIsLost",
    ),
    Mutant(
        "no_repeats",
        "the answer to an outcome that is reported again: it is refused",
        (
            Edit(
                f"{ENGINE}/finish.go",
                "\tcase f.SameLease && isRepeat(x, f.Status):",
                "\tcase f.SameLease && isRepeat(x, f.Status) && false:",
            ),
        ),
        scenario="forged",
        tests="TestAReplyThatIsLost",
    ),
    Mutant(
        "strays_kept",
        "giving back what a claim took whose reply was lost",
        (
            Edit(
                f"{ENGINE}/worker.go",
                "\t\tif strays[row.ID] = row.Lease; w.strays[row.ID] != row.Lease {",
                "\t\tif strays[row.ID] = row.Lease; true {",
            ),
        ),
        scenario="cut_commit",
        tests="TestRowsHeldWithoutBeingRun",
    ),
    Mutant(
        "outage_is_death",
        "the look at a silent worker: the database's clock alone decides",
        (Edit(f"{ENGINE}/recover.go", "now.Sub(before.since) >= s.Timeout/2", "true"),),
        scenario="pg_down",
        seconds=30,
        tests="TestWhatAnOutageShowsMakesNobodyDead",
    ),
    Mutant(
        "dead_beats",
        "the refusal of a dead worker's heartbeat",
        (
            Edit(
                f"{STORE}/workers.go",
                "now() WHERE id = $1 AND status IN ('active', 'draining') RETURNING id",
                "now() WHERE id = $1 RETURNING id",
            ),
        ),
        scenario="zombie",
        tests="TestAWorkerThatWasDeclaredDeadStartsAnew|TestAnExecutionOfASilentWorker",
    ),
    Mutant(
        "buried_alive",
        "the look, under lock, whether a worker has beaten before it is declared dead",
        (
            Edit(
                f"{STORE}/workers.go",
                "status IN ('active', 'draining') AND heartbeat_at = $2 RETURNING id",
                "status IN ('active', 'draining') AND $2::timestamptz IS NOT NULL RETURNING id",
            ),
        ),
        scenario="forged",
        tests="TestAWorkerThatHasBeatenSince",
    ),
    Mutant(
        "stops_count_as_crashes",
        "the difference between a worker that stopped and one that died",
        (
            Edit(
                f"{ENGINE}/recover.go",
                "e.store.RecoverFrom(ctx, s.ID, !s.Stopped, recoverBatch)",
                "e.store.RecoverFrom(ctx, s.ID, true, recoverBatch)",
            ),
        ),
        scenario="forged",
        tests="TestARowThatAStoppedWorkerLeft",
        remark="no worker of today leaves a row as it stops; the rig leaves one in its name",
    ),
    Mutant(
        "cancel_is_forgotten",
        "the word of a cancel over an outcome",
        (
            Edit(
                f"{STORE}/finish.go",
                "            WHEN e.cancel_requested_at IS NOT NULL THEN 'cancelled'\n",
                "",
            ),
        ),
        scenario="races",
        tests="Cancel",
    ),
    Mutant(
        "ends_twice",
        "the end of an execution that already has one: a second outcome is taken",
        (
            Edit(
                f"{STORE}/finish.go",
                "WHEN e.status <> 'running' OR e.epoch <> x.epoch",
                "WHEN e.status NOT IN ('running', 'completed', 'failed') OR e.epoch <> x.epoch",
            ),
        ),
        scenario="forged",
        tests="TestARepeatedOutcomeIsAccepted|TestAReplyThatIsLost",
    ),
    Mutant(
        "told_first",
        "the wait for the commit: a workflow is told of its step's record before it",
        _told_first("plain"),
        scenario="kill9",
        remark=_TOLD_REMARK,
    ),
    Mutant(
        "told_of_children_first",
        "the wait for the commit: a workflow is told of its activity's end before it",
        _told_first("plain_child"),
        scenario="kill9",
        remark=_TOLD_REMARK,
    ),
)
