"""The same faults for others: `peers.py --seconds 60 --seed 7 [NAME...]`.

Each contestant's workers are killed and stopped in the same rhythm. Counted is what was accepted
and did not run to its end within half a minute after the last fault, and what ran to its end more
than once. A body that runs twice is no error in any of them: all promise at least once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
sys.path.insert(0, str(Path(__file__).parents[2] / "programs"))
sys.path.insert(0, str(Path(__file__).parents[2] / "crash"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from fault_server import ROOT, FaultServer
from program_generator import Dice

HERE = Path(__file__).parent
NAMES = ("libworkflows", "procrastinate", "dbos")
_GRACE = 30.0
_WORKERS = 4
_LEASE = 2.0


class Contest:
    """One contestant: its processes, and what happens to them."""

    def __init__(self, name: str, python: Path, url: str, run: Path, seconds: float) -> None:
        self._command = [str(python), str(HERE / f"peer_{name}.py")]
        self._environment = {
            **os.environ,
            "PEER_URL": url,
            "PEER_RUN": str(run),
            "PEER_SECONDS": str(seconds),
        }
        self._run = run
        self._seconds = seconds
        self.faults: Counter[str] = Counter()

    def _start(self, role: str, name: str) -> subprocess.Popen[bytes]:
        with (self._run / f"{name}.log").open("ab") as log:
            environment = {**self._environment, "PEER_WORKER": name}
            return subprocess.Popen([*self._command, role], env=environment, stdout=log, stderr=log)

    def play(self, dice: Dice) -> None:
        """Kill and stop workers while clients enqueue; then wait for what is left."""
        if self._start("prepare", "prepare").wait() != 0:
            raise RuntimeError((self._run / "prepare.log").read_text())
        names = [f"worker-{n}" for n in range(_WORKERS)]
        workers = {name: self._start("worker", name) for name in names}
        time.sleep(3)  # nothing common to all says that a worker is ready
        client = self._start("client", "client")
        try:
            self._haunt(dice, workers, time.monotonic() + self._seconds)
            self._settle(time.monotonic() + _GRACE)
        finally:
            for process in (client, *workers.values()):
                process.kill()
                process.wait()

    def _haunt(self, dice: Dice, workers: dict[str, subprocess.Popen[bytes]], until: float) -> None:
        stopped: dict[str, float] = {}
        while time.monotonic() < until:
            time.sleep(dice.between(300, 1200) / 1000)
            for name in [name for name, at in stopped.items() if at < time.monotonic()]:
                workers[name].send_signal(signal.SIGCONT)
                del stopped[name]
            free = [name for name in workers if name not in stopped]
            if len(free) < 2:
                continue
            name = dice.pick(free)
            if dice.chance(60):
                workers[name].kill()
                workers[name].wait()
                workers[name] = self._start("worker", name)
                self.faults["kill9"] += 1
            else:
                workers[name].send_signal(signal.SIGSTOP)
                stopped[name] = time.monotonic() + _LEASE * dice.between(120, 300) / 100
                self.faults["stop"] += 1
        for name in stopped:
            workers[name].send_signal(signal.SIGCONT)

    def _settle(self, until: float) -> None:
        while time.monotonic() < until and self.counts()["lost"]:
            time.sleep(0.5)

    def counts(self) -> dict[str, float]:
        """Answer what became of what was accepted."""
        seen: dict[tuple[str, str], list[float]] = {}
        for path in self._run.glob("*.jsonl"):
            for line in path.read_bytes().split(b"\n")[:-1]:
                entry = json.loads(line)
                seen.setdefault((entry["what"], entry["uid"]), []).append(entry["at"])
        accepted = {uid: at for (what, uid), [at, *_] in seen.items() if what == "accepted"}
        ends = {uid: seen.get(("end", uid), []) for uid in accepted}
        waits = [min(ends[uid]) - at for uid, at in accepted.items() if ends[uid]]
        return {
            "accepted": len(accepted),
            "lost": sum(not each for each in ends.values()),
            "ended twice": sum(len(each) > 1 for each in ends.values()),
            "slowest": round(max(waits, default=0), 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", type=Path, required=True, help="one that has the peers")
    options = parser.parse_args()
    print("| | accepted | faults | lost | bodies that ended twice | slowest, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.names or NAMES:
        run = Path(tempfile.mkdtemp(prefix=f"peer-{name}-", dir=ROOT / "build" / "faults"))
        with FaultServer(ROOT / "build" / "faults") as server:
            server.query("CREATE DATABASE peer TEMPLATE template0")
            python = Path(sys.executable) if name == "libworkflows" else options.python
            contest = Contest(name, python, server.url("peer"), run, options.seconds)
            contest.play(Dice(options.seed))
        counts, faults = contest.counts(), sum(contest.faults.values())
        cells = (name, counts["accepted"], faults, counts["lost"], counts["ended twice"])
        cells += (counts["slowest"],)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
