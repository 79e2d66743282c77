"""The same faults for others: `peers.py --seconds 60 --seed 7 [NAME...]`.

Workers of each contestant are killed and stopped at the same times, which follow from the seed.
Counted is what was accepted and never ran to its end, though half a minute went by without faults
in which nothing else did; what ran to its end more than once, and whose result was written by a
worker that no longer held it: a trigger on the contestant's own table writes down who claims a job,
and who ends it.
A body that runs twice is no error in any of them: all promise at least once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
sys.path.insert(0, str(Path(__file__).parents[2] / "programs"))
sys.path.insert(0, str(Path(__file__).parents[2] / "crash"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from fault_peers import table
from fault_server import ROOT, FaultServer
from peer_table import NAMES, PEERS, Peer, audit
from program_generator import Dice

_BUILD = ROOT / "build" / "faults"
_GRACE = 30.0
_WORKERS = 4
_LEASE = 2.0
_MAX_DEATHS = 1000


@dataclass(frozen=True)
class Fault:
    """What happens to which worker, and when, in seconds from the start."""

    at: float
    slot: int
    kind: str


def schedule(dice: Dice, seconds: float) -> list[Fault]:
    """Answer the faults of a seed: the same for every contestant, whatever becomes of it."""
    faults: list[Fault] = []
    stopped = [0.0] * _WORKERS
    at = 0.0
    while (at := at + dice.between(300, 1200) / 1000) < seconds:
        free = [slot for slot, until in enumerate(stopped) if until <= at]
        if len(free) < 2:
            continue
        slot = dice.pick(free)
        if dice.chance(60):
            faults.append(Fault(at, slot, "kill9"))
        else:
            stopped[slot] = at + _LEASE * dice.between(120, 300) / 100
            faults += [Fault(at, slot, "stop"), Fault(stopped[slot], slot, "cont")]
    return sorted(faults, key=lambda fault: fault.at)


class Contest:
    """One contestant: its processes, and what happens to them."""

    def __init__(self, peer: Peer, python: Path, server: FaultServer, run: Path) -> None:
        runs = ["node"] if peer.script.suffix == ".mjs" else [str(python)]
        self._command = [*runs, str(peer.script)]
        self._peer = peer
        self._server = server
        self._run = run
        self._generations: Counter[int] = Counter()
        self._deaths: list[tuple[str, float]] = []
        self.faults: Counter[str] = Counter()

    def _start(self, role: str, name: str, slot: str, seconds: float) -> subprocess.Popen[bytes]:
        with (self._run / f"{name}.log").open("ab") as log:
            environment = {
                **os.environ,
                "PEER_URL": self._server.url("peer").replace("//bench@", f"//{name}@"),
                "PEER_RUN": str(self._run),
                "PEER_SECONDS": str(seconds),
                "PEER_NAME": self._peer.name,
                "PEER_WORKER": name,
                "PEER_SLOT": slot,
                "PEER_MODULES": str(ROOT / "bench" / "peers" / "node" / "node_modules"),
            }
            return subprocess.Popen([*self._command, role], env=environment, stdout=log, stderr=log)

    def _worker(self, slot: int) -> subprocess.Popen[bytes]:
        self._generations[slot] += 1
        name = f"w{slot}_{self._generations[slot]}"
        self._server.query(f"CREATE ROLE {name} SUPERUSER LOGIN")
        return self._start("worker", name, f"w{slot}", 0)

    def play(self, faults: list[Fault], seconds: float) -> None:
        """Kill and stop workers while clients enqueue; then wait for what is left."""
        for name in ("prepare", "client"):
            self._server.query(f"CREATE ROLE {name} SUPERUSER LOGIN")
        if self._start("prepare", "prepare", "prepare", 0).wait() != 0:
            raise RuntimeError((self._run / "prepare.log").read_text())
        self._server.query(audit(self._peer), "peer")
        workers = [self._worker(slot) for slot in range(_WORKERS)]
        time.sleep(3)  # nothing common to all says that a worker is ready
        client = self._start("client", "client", "client", seconds)
        try:
            self._haunt(faults, workers, time.monotonic())
            self._settle()
        finally:
            for process in (client, *workers):
                process.kill()
                process.wait()

    def _haunt(
        self, faults: list[Fault], workers: list[subprocess.Popen[bytes]], began: float
    ) -> None:
        for fault in faults:
            time.sleep(max(0, began + fault.at - time.monotonic()))
            process = workers[fault.slot]
            self.faults[fault.kind] += 1
            if fault.kind == "kill9":
                name = f"w{fault.slot}_{self._generations[fault.slot]}"
                self._deaths.append((name, time.monotonic()))
                process.kill()
                process.wait()
                workers[fault.slot] = self._worker(fault.slot)
            else:
                number = signal.SIGSTOP if fault.kind == "stop" else signal.SIGCONT
                process.send_signal(number)

    def _settle(self) -> None:
        """Wait until all has ended, or nothing more has for a while: what is slow is not lost."""
        left, since = self.counts()["never_ended"], time.monotonic()
        while left and time.monotonic() < since + _GRACE:
            time.sleep(1)
            if (now := self.counts()["never_ended"]) < left:
                left, since = now, time.monotonic()

    # --- figures ---

    def counts(self) -> dict[str, float]:
        """Answer what became of what was accepted, by the journals."""
        seen = self._journals()
        accepted = {uid: at for (what, uid), [(at, _), *_] in seen.items() if what == "accepted"}
        ends = {uid: seen.get(("end", uid), []) for uid in accepted}
        waits = [min(ends[uid])[0] - at for uid, at in accepted.items() if ends[uid]]
        recovered = sorted(self._recoveries(seen))
        return {
            "accepted": len(accepted),
            "never_ended": sum(not each for each in ends.values()),
            "ended_twice": sum(len(each) > 1 for each in ends.values()),
            "interrupted": len(recovered),
            "recovered_p50_s": round(recovered[len(recovered) // 2], 1) if recovered else None,
            "recovered_max_s": round(recovered[-1], 1) if recovered else None,
            "slowest_s": round(max(waits, default=0), 1),
        }

    def _journals(self) -> dict[tuple[str, str], list[tuple[float, str]]]:
        seen: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for path in self._run.glob("*.jsonl"):
            for line in path.read_bytes().split(b"\n")[:-1]:
                entry = json.loads(line)
                seen.setdefault((entry["what"], entry["uid"]), []).append(
                    (entry["at"], entry["by"])
                )
        return {key: sorted(each) for key, each in seen.items()}

    def _recoveries(self, seen: dict[tuple[str, str], list[tuple[float, str]]]) -> list[float]:
        """Answer how long it took from a death until what it interrupted began again."""
        died = dict(self._deaths)
        found: list[float] = []
        for (what, uid), begins in seen.items():
            if what != "begin":
                continue
            ended = {by for _, by in seen.get(("end", uid), [])}
            for n, (_, by) in enumerate(begins):
                if by in died and by not in ended and n + 1 < len(begins):
                    found.append(max(0.0, begins[n + 1][0] - died[by]))
        return found

    def stale(self) -> int:
        """Count the results that were written by another than who had claimed the job last."""
        return int(self._server.query(_STALE, "peer"))


_STALE = """
SELECT count(*) FROM peer_audit e WHERE state = 'done' AND who <> (
    SELECT who FROM peer_audit c WHERE c.uid = e.uid AND c.state = 'claimed' AND c.n < e.n
    ORDER BY n DESC LIMIT 1)
"""


def contend(peer: Peer, python: Path, seed: int, seconds: float) -> dict[str, object]:
    """Play one contestant, and answer its figures."""
    run = Path(tempfile.mkdtemp(prefix=f"peer-{peer.name}-", dir=_BUILD))
    with FaultServer(_BUILD) as server:
        server.query("CREATE DATABASE peer TEMPLATE template0")
        contest = Contest(peer, python, server, run)
        contest.play(schedule(Dice(seed), seconds), seconds)
        return {
            "name": peer.name,
            "title": peer.title,
            "version": peer.version,
            "settings": peer.settings,
            "promise": peer.promise,
            "kills": contest.faults["kill9"],
            "stops": contest.faults["stop"],
            **contest.counts(),
            "stale_results": contest.stale(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", type=Path, required=True, help="one that has the peers")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    found: list[dict[str, object]] = []
    for peer in [NAMES[name] for name in options.names] or PEERS:
        python = Path(sys.executable) if peer.package is None else options.python
        found.append(contend(peer, python, options.seed, options.seconds))
        print(found[-1], flush=True)
    report = {
        "seed": options.seed,
        "seconds": options.seconds,
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[2], 1),
        "peers": found,
    }
    if options.json and options.names:
        report["peers"] = _beside(options.json, report)
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def _beside(path: Path, report: dict[str, Any]) -> list[dict[str, object]]:
    """Put those that were played again among the others, if these had the same faults."""
    before = json.loads(path.read_text()) if path.exists() else {}
    if (before.get("seed"), before.get("seconds")) != (report["seed"], report["seconds"]):
        return report["peers"]
    found = {each["name"]: each for each in [*before["peers"], *report["peers"]]}
    return [found[each.name] for each in PEERS if each.name in found]


def _commit() -> str:
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(
        asked, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
