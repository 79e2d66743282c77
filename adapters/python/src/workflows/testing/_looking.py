"""The operations of the engine in memory that only look."""

from __future__ import annotations

from ._ledger import Ledger
from ._rows import Fault, Json, Row


class Looking(Ledger):
    """Answers what is."""

    def find(self, id: str) -> Row:
        """Answers an execution.

        Raises:
            Fault: there is none.
        """
        row = self.rows.get(id)
        if row is None:
            raise Fault("execution_not_found", f"no execution has id {id}", id=id)
        return row

    def _get_execution(self, request: Json) -> Json:
        return self.find(request["id"]).reply()

    def _get_history(self, request: Json) -> Json:
        row = self.find(request["id"])
        run, after = request.get("run") or row.run, request.get("after") or 0
        limit = request.get("limit") or 1000
        events = row.histories.get(run, [])[after:]
        more = {"more": True} if len(events) > limit else {}
        return {"run": run, "events": events[:limit], **more}

    def _list_executions(self, request: Json) -> Json:
        statuses, limit = request.get("status") or (), request.get("limit") or 100
        wanted = {name: request[name] for name in ("kind", "name", "queue") if request.get(name)}
        found = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.id, reverse=True)
            if (not statuses or row.status in statuses)
            and all(getattr(row, name) == value for name, value in wanted.items())
            and request.get("parent_id") in (None, row.parent and row.parent.id)
            and request.get("root_id") in (None, row.root.id)
            and (not request.get("parked") or row.parked is not None)
            and (not request.get("cursor") or row.id < request["cursor"])
        ]
        reply: Json = {"executions": [row.reply() for row in found[:limit]]}
        if len(found) > limit:
            reply["cursor"] = found[limit - 1].id
        return reply

    def _stats(self, request: Json) -> Json:
        queues: dict[str, Json] = {}
        for row in self.rows.values():
            counts = queues.setdefault(
                row.queue,
                {
                    "queue": row.queue,
                    **dict.fromkeys(("scheduled", "pending", "running", "suspended", "failed"), 0),
                    "oldest_pending_ms": 0,
                },
            )
            if row.status in counts:
                counts[row.status] += 1
        return {
            "schema": "workflows",
            "schema_version": 0,
            "server_version": "in memory",
            "server_time": self.clock.at(),
            "queues": [queues[name] for name in sorted(queues)],
            "workers": [],
        }

    def _migrate(self, request: Json) -> Json:
        return {"schema": "workflows", "from": 0, "version": 0, "latest": 0}

    def _recover(self, request: Json) -> Json:
        return {"workers": 0, "executions": 0, "parked": 0}
