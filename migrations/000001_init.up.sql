-- Executions, their history, their timers and the workers that hold them.
-- The schema is called workflows here; the migrator puts in the one that is configured.

-- One row per execution: both its record and its place in the queue.
CREATE TABLE workflows.executions (
    id                   uuid        NOT NULL,
    root_id              uuid        NOT NULL,
    parent_id            uuid,
    parent_run           integer,
    sequence             integer,               -- of the parent's command
    close_policy         text,
    reported             boolean     NOT NULL DEFAULT false, -- the parent no longer wants to hear of the end
    kind                 text        NOT NULL,
    name                 text        NOT NULL,
    queue                text        NOT NULL,
    idempotency_key      text,
    run                  integer     NOT NULL DEFAULT 1,
    status               text        NOT NULL,
    priority             smallint    NOT NULL,
    awaited              boolean     NOT NULL DEFAULT false, -- somebody waits for the end: announce it
    alone                boolean     NOT NULL DEFAULT false, -- the present claim is the only one of its worker
    run_at               timestamptz NOT NULL,
    created_at           timestamptz NOT NULL,
    started_at           timestamptz,
    finished_at          timestamptz,
    cancel_requested_at  timestamptz,
    deadline_at          timestamptz,
    worker               uuid,                  -- holds it, or held it last
    epoch                bigint      NOT NULL DEFAULT 0,
    token                uuid,
    history_length       integer     NOT NULL DEFAULT 0,
    attempts             integer     NOT NULL DEFAULT 0,
    failures             integer     NOT NULL DEFAULT 0,
    crashes              integer     NOT NULL DEFAULT 0, -- in a row
    releases             integer     NOT NULL DEFAULT 0,
    attempt_timeout_ms   bigint,
    parked               text,
    language             text,
    version              text,
    retry                json,
    args                 json,
    kwargs               json,
    result               json,
    error                json,
    failed_sequence      integer,               -- of the command whose failure ended a workflow
    progress             json,
    state                json,
    CONSTRAINT executions_pkey PRIMARY KEY (id),
    CONSTRAINT executions_kind CHECK (kind IN ('job', 'activity', 'workflow')),
    CONSTRAINT executions_status CHECK (status IN ('scheduled', 'pending', 'running', 'suspended', 'completed', 'failed', 'cancelled')),
    CONSTRAINT executions_priority CHECK (priority BETWEEN 0 AND 10),
    CONSTRAINT executions_running_is_held CHECK (status <> 'running' OR (worker IS NOT NULL AND token IS NOT NULL)),
    CONSTRAINT executions_final_has_an_end CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT executions_only_workflows_suspend CHECK (status <> 'suspended' OR kind = 'workflow'),
    CONSTRAINT executions_child_has_sequence CHECK ((parent_id IS NULL) = (sequence IS NULL))
) WITH (
    fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);

-- claim
CREATE INDEX executions_claim ON workflows.executions (queue, priority DESC, run_at, id) WHERE status = 'pending' AND crashes < 2;
-- claim of what crashed twice: alone
CREATE INDEX executions_suspect ON workflows.executions (queue, priority DESC, run_at, id) WHERE status = 'pending' AND crashes >= 2;
-- promotion of what is due
CREATE INDEX executions_promote ON workflows.executions (run_at) WHERE status = 'scheduled';
-- heartbeat, recover and stop_worker: what a worker holds
CREATE INDEX executions_held ON workflows.executions (worker) WHERE status = 'running';
-- cancel by sequence, closing of children
CREATE INDEX executions_parent ON workflows.executions (parent_id, sequence) WHERE parent_id IS NOT NULL;
-- create_execution with an idempotency key
CREATE UNIQUE INDEX executions_idempotency ON workflows.executions (name, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- list_executions of what needs a look
CREATE INDEX executions_attention ON workflows.executions (id) WHERE status = 'failed' OR parked IS NOT NULL;

-- Append-only: the truth of a workflow.
CREATE TABLE workflows.history (
    execution_id uuid        NOT NULL,
    run          integer     NOT NULL,
    position     integer     NOT NULL,
    type         text        NOT NULL,
    sequence     integer,
    name         text,
    key          text,                          -- of a signal: sent twice, delivered once
    payload      json,
    at           timestamptz NOT NULL,
    CONSTRAINT history_pkey PRIMARY KEY (execution_id, run, position),
    CONSTRAINT history_position CHECK (position >= 1)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

-- send_signal
CREATE UNIQUE INDEX history_signal_once ON workflows.history (execution_id, key, run) WHERE key IS NOT NULL;

-- The durable to-do list: sleeps, deadlines, closing of children.
CREATE TABLE workflows.timers (
    execution_id uuid        NOT NULL,
    run          integer     NOT NULL,
    kind         text        NOT NULL,
    sequence     integer     NOT NULL,
    due_at       timestamptz NOT NULL,
    CONSTRAINT timers_pkey PRIMARY KEY (execution_id, kind, sequence),
    CONSTRAINT timers_kind CHECK (kind IN ('sleep', 'deadline', 'schedule', 'close'))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- tick
CREATE INDEX timers_due ON workflows.timers (due_at);

-- One row per process incarnation.
CREATE TABLE workflows.workers (
    id                   uuid        NOT NULL,
    name                 text        NOT NULL,
    queues               text[]      NOT NULL,
    concurrency          integer     NOT NULL,
    language             text        NOT NULL,
    runtime              text        NOT NULL,
    sdk_version          text        NOT NULL,
    status               text        NOT NULL,
    heartbeat_timeout_ms bigint      NOT NULL,
    started_at           timestamptz NOT NULL,
    heartbeat_at         timestamptz NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (id),
    CONSTRAINT workers_status CHECK (status IN ('active', 'draining', 'stopped', 'dead'))
) WITH (fillfactor = 50);
