ALTER TABLE workflows.executions DROP COLUMN suspended_position;
