"""What is measured, in the order of the tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """One thing to measure: its title in tables, and whether its figure is a rate or a time."""

    title: str
    unit: str = "/s"


WORKLOADS = {
    "enqueue_single": Workload("jobs enqueued one by one, 200 callers"),
    "enqueue_batch": Workload("jobs enqueued in batches of 500"),
    "drain": Workload("no-op jobs drained"),
    "workflow_1": Workload("no-op workflows, 1 in flight"),
    "workflow_100": Workload("no-op workflows, 100 in flight"),
    "workflow_1000": Workload("no-op workflows, 1,000 in flight"),
    "steps_100": Workload("recorded steps, 100 workflows in flight"),
    "activities_100": Workload("activities one after another, 100 workflows in flight"),
    "parallel_100": Workload("activities ten at a time, 100 workflows in flight"),
    "pickup": Workload("job enqueued until its body starts", "ms"),
    "pickup_apart": Workload("the same, worker in another process", "ms"),
    "result": Workload("no-op workflow, start to result", "ms"),
    "result_apart": Workload("the same, worker in another process", "ms"),
    "replay": Workload("events replayed, in a history of 10,000"),
    "idle": Workload("idle worker: queries, memory (bare process)", "idle"),
}
