"""The contestants: how each is run, what of its tables is watched, and what it promises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_BENCH = Path(__file__).parents[3] / "bench" / "peers"


@dataclass(frozen=True)
class Peer:
    """One contestant.

    Attributes:
        name: of its program here, peer_NAME.
        title: its name for readers.
        package: its name in the manifest that pins it; none for this project.
        table: where it keeps the state of a job.
        uid: SQL for what the client called the job, in a row of it.
        claimed: SQL for whether a row is held by a worker.
        holder: SQL for by whom.
        done: SQL for whether it is at its good end; what is deleted is, too.
        settings: what it is run with, for readers.
        promise: which of the doublings it promises against, for readers.
    """

    name: str
    title: str
    package: str | None
    table: str
    uid: str
    claimed: str
    holder: str
    done: str
    settings: str
    promise: str
    program: str = ""

    @property
    def script(self) -> Path:
        return Path(__file__).with_name(self.program or f"peer_{self.name}.py")

    @property
    def version(self) -> str:
        """Answer what its manifest pins."""
        if self.package is None:
            return "this commit"
        if self.script.suffix == ".mjs":
            manifest = json.loads((_BENCH / "node" / "package.json").read_text())
            return manifest["dependencies"][self.package]
        lines = (_BENCH / "python" / "requirements.txt").read_text().splitlines()
        return dict(line.split("==") for line in lines if "==" in line)[self.package]


_GRAPHILE = {
    "package": "graphile-worker",
    "program": "peer_graphile.mjs",
    "table": "graphile_worker._private_jobs",
    "uid": "r.payload->>'uid'",
    "claimed": "r.locked_by IS NOT NULL",
    "holder": "r.locked_by",
    "done": "false",
}

PEERS = (
    Peer(
        "libworkflows",
        "libworkflows",
        None,
        "workflows.executions",
        "r.args->>0",
        "r.status = 'running'",
        "r.token",
        "r.status = 'completed'",
        "heartbeat timeout 2 s, poll 0.5 s; workers recover each other",
        "A job's body runs at least once. Its result is written by its present holder only.",
    ),
    Peer(
        "procrastinate",
        "procrastinate",
        "procrastinate",
        "procrastinate_jobs",
        "r.args->>'uid'",
        "r.status = 'doing'",
        "coalesce(r.worker_id, 0)",
        "r.status = 'succeeded'",
        "heartbeat every 0.5 s, `stalled_worker_timeout` 2 s, and a task that retries what"
        " `get_stalled_jobs` finds, twice a second, as its manual has one write",
        "A job that is retried runs again. Who finishes a job is not compared with who holds it:"
        " its manual leaves to the task to be safe to repeat.",
    ),
    Peer(
        "dbos",
        "DBOS",
        "dbos",
        "dbos.workflow_status",
        "r.workflow_uuid",
        "r.status = 'PENDING'",
        "r.executor_id",
        "r.status = 'SUCCESS'",
        "a workflow of one step on a queue, poll 0.5 s; an executor that died is started again"
        " under its `executor_id` and recovers its own, as its manual says for who has no"
        " Conductor; nobody takes from one that is stopped",
        "A step runs at least once, an outcome is recorded once.",
    ),
    Peer(
        "graphile",
        "graphile-worker, its workers unlocked by who restarts them",
        settings="poll 0.5 s; whoever starts a worker again calls `forceUnlockWorkers` for the"
        " dead one, which is there for those that are known to be gone; nobody takes from one that"
        " is stopped",
        promise="A job runs at least once.",
        **_GRAPHILE,
    ),
    Peer(
        "graphile_alone",
        "graphile-worker, left alone",
        settings="poll 0.5 s, and nothing else",
        promise="A job runs at least once: what a worker held that died is free again after"
        " 4 hours, which is longer than this run. It counts as never ended here, and is not lost.",
        **_GRAPHILE,
    ),
)

NAMES = {each.name: each for each in PEERS}

# Who claims a job and who ends it, in the order of the writes. Each process has a role of its own
# to connect as: a name that no library overwrites.
AUDIT = """
CREATE TABLE public.peer_audit (
    n bigint GENERATED ALWAYS AS IDENTITY, who name, uid text, state text
);
CREATE FUNCTION public.peer_state(r {table}) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN {done} THEN 'done' WHEN {claimed} THEN 'claimed by ' || ({holder})::text END
$$;
CREATE FUNCTION public.peer_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    r {table} := OLD;
    was text := public.peer_state(OLD);
    became text := 'done';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        became := public.peer_state(NEW);
    END IF;
    IF became IS NOT NULL AND became IS DISTINCT FROM was AND was IS DISTINCT FROM 'done' THEN
        INSERT INTO public.peer_audit (who, uid, state)
        VALUES (session_user, {uid}, split_part(became, ' ', 1));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER peer_note AFTER UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION public.peer_note();
"""


def audit(peer: Peer) -> str:
    """Answer the SQL that has a peer's writes written down."""
    return AUDIT.format(
        table=peer.table,
        uid=peer.uid,
        claimed=peer.claimed,
        holder=peer.holder,
        done=peer.done,
    )
