DROP TABLE workflows.workers;
DROP TABLE workflows.timers;
DROP TABLE workflows.history;
DROP TABLE workflows.executions;
