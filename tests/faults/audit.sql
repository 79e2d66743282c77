-- The audit of a run under faults: what the checker reads to know in which order an execution's row and
-- its history were written, under which lease, by which statement and by whose session.
--
-- For tests only. Apply it to a migrated schema before anything runs there; it names the schema workflows,
-- as the migrations do, so for another one replace `workflows.`. The table is a plain one: a crash of the
-- server empties what is UNLOGGED. Triggers fire under the row's lock, so the rows of one execution are
-- numbered in the order in which they were written.

CREATE TABLE workflows.audit (
    n              bigserial   PRIMARY KEY USING INDEX TABLESPACE pg_default,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    txid           bigint      NOT NULL DEFAULT txid_current(),
    tab            text        NOT NULL,   -- executions, history or workers
    op             text        NOT NULL,   -- I, U or D
    x              uuid        NOT NULL,   -- of the execution, or of the worker
    run            integer,
    old_status     text,
    new_status     text,                   -- of a history row, and what follows: the execution's, as it is then
    old_epoch      bigint,
    new_epoch      bigint,
    old_token      uuid,
    new_token      uuid,
    worker         uuid,
    crashes        integer,
    releases       integer,
    attempts       integer,
    failures       integer,
    history_length integer,
    position       integer,
    type           text,
    sequence       integer,
    key            text,
    result_hash    text,                   -- md5 of result, error or payload
    server_boot_ns bigint,
    run_at         timestamptz,
    event_at       timestamptz,            -- finished_at, of a history row at, of a worker heartbeat_at
    parked         text,
    cancel         boolean,                -- it is asked to stop
    alone          boolean,                -- the claim is the only one of its worker
    statement      text,                   -- the engine's name of it
    writer         text                    -- one for each engine, however many connections it has
) TABLESPACE pg_default;                   -- which has room when the disk of the tables under test is full

-- What the engine's statements say of themselves in their first comment, and its sessions in a setting, whose
-- name is put together here so that it stays what it is when the schema's is replaced.
CREATE FUNCTION workflows.audit_statement() RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT substring(left(current_query(), 80) FROM '/\* workflows:([a-z_]+) \*/') $$;

CREATE FUNCTION workflows.audit_writer() RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT nullif(current_setting(format('lib%s.session', 'workflows'), true), '') $$;

CREATE FUNCTION workflows.audit_execution() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    o workflows.executions := CASE WHEN TG_OP <> 'INSERT' THEN OLD END;
    r workflows.executions := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO workflows.audit (tab, op, x, run, old_status, new_status, old_epoch, new_epoch, old_token, new_token, worker,
        crashes, releases, attempts, failures, history_length, result_hash, run_at, event_at, parked, cancel, alone, statement, writer)
    VALUES ('executions', left(TG_OP, 1), r.id, r.run, o.status, CASE WHEN TG_OP <> 'DELETE' THEN r.status END,
        o.epoch, r.epoch, o.token, r.token, r.worker, r.crashes, r.releases, r.attempts, r.failures, r.history_length,
        md5(coalesce(r.result, r.error)::text), r.run_at, r.finished_at, r.parked, r.cancel_requested_at IS NOT NULL, r.alone,
        workflows.audit_statement(), workflows.audit_writer());
    RETURN NULL;
END $$;

-- A history row is read together with its execution's, as the statement that appended it leaves that.
CREATE FUNCTION workflows.audit_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    h workflows.history := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    e workflows.executions;
BEGIN
    SELECT * INTO e FROM workflows.executions WHERE id = h.execution_id;
    INSERT INTO workflows.audit (tab, op, x, run, new_status, new_epoch, new_token, worker, history_length, position, type, sequence, key,
        result_hash, event_at, statement, writer)
    VALUES ('history', left(TG_OP, 1), h.execution_id, h.run, e.status, e.epoch, e.token, e.worker, e.history_length, h.position, h.type, h.sequence, h.key,
        md5(h.payload::text), h.at, workflows.audit_statement(), workflows.audit_writer());
    RETURN NULL;
END $$;

CREATE FUNCTION workflows.audit_worker() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    w workflows.workers := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    o text := CASE WHEN TG_OP <> 'INSERT' THEN OLD.status END;
BEGIN
    INSERT INTO workflows.audit (tab, op, x, old_status, new_status, worker, event_at, statement, writer)
    VALUES ('workers', left(TG_OP, 1), w.id, o, CASE WHEN TG_OP <> 'DELETE' THEN w.status END, w.id, w.heartbeat_at,
        workflows.audit_statement(), workflows.audit_writer());
    RETURN NULL;
END $$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON workflows.executions FOR EACH ROW EXECUTE FUNCTION workflows.audit_execution();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON workflows.history FOR EACH ROW EXECUTE FUNCTION workflows.audit_history();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON workflows.workers FOR EACH ROW EXECUTE FUNCTION workflows.audit_worker();
