-- Where the last holder suspended a workflow: if it still has it in memory, it
-- needs only later events. NULL once somebody else may have held it since.
ALTER TABLE workflows.executions ADD COLUMN suspended_position integer;
