"""What is asked of the engine: items that follow from a seed, and what may come of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from program_generator import Dice

Deed = dict[str, Any]

LANGUAGES = ("python", "node")

# What may be asked for, and how often; a scenario puts in its own.
MIX: Mapping[str, int] = {
    "jobs": 12,
    "job": 16,
    "doomed": 3,
    "delayed": 5,
    "twins": 8,
    "call": 10,
    "flow": 34,
    "starter": 6,
    "cancelled": 8,
    "terminated": 2,
}


@dataclass(frozen=True)
class Signal:
    """A signal that one of an item's senders sends, after those that it sent before."""

    sender: int
    name: str
    uid: str
    keyed: bool


@dataclass(frozen=True)
class Item:
    """Something to start, and what is done to it."""

    uid: str
    kind: str
    name: str
    queue: str
    deed: Deed
    id: str | None = None
    key: str | None = None
    twins: int = 1
    copies: int = 1
    delay_ms: int = 0
    end_ms: int | None = None
    end: str = "cancel"
    signals: Sequence[Signal] = field(default_factory=tuple)

    def executions(self) -> list[dict[str, Any]]:
        """Answer what the client is to create."""
        made: list[dict[str, Any]] = []
        for copy in range(self.copies):
            deed = {**self.deed, "uid": f"{self.uid}/{copy}"} if self.copies > 1 else self.deed
            new: dict[str, Any] = {
                "kind": self.kind,
                "name": self.name,
                "queue": self.queue,
                "args": [deed],
                "retry": {"initial_ms": 50, "max_ms": 200, "retries": 50},
            }
            if self.name == "fault.doomed":
                new["retry"] = {"initial_ms": 50, "max_ms": 100, "retries": 1}
            if self.kind == "workflow":
                del new["retry"]
            if self.id:
                new["id"] = self.id
            if self.key:
                new["idempotency_key"] = self.key
            if self.delay_ms:
                new["delay_ms"] = self.delay_ms
            made.append(new)
        return made


class Workload:
    """Answers the n-th item of a seed, whoever asks and when."""

    def __init__(
        self, seed: int, mix: Mapping[str, int] = MIX, languages: Sequence[str] = LANGUAGES
    ):
        self._seed = seed
        self._mix = mix
        self._languages = languages

    def item(self, n: int) -> Item:
        dice = Dice(self._seed * 1_000_003 + n)
        return getattr(self, f"_{dice.weighted(self._mix)}")(dice, f"u{n}")

    # --- kinds ---

    def _job(self, dice: Dice, uid: str, **more: Any) -> Item:
        deed = {
            "uid": uid,
            "ms": dice.pick((0, 0, 5, 20, 100, 400)),
            "fails": dice.pick((0, 0, 0, 1)),
        }
        return replace(Item(uid, "job", "fault.job", "default", deed, id=_id(dice)), **more)

    def _jobs(self, dice: Dice, uid: str) -> Item:
        deed = {"uid": uid, "ms": dice.pick((0, 0, 2))}
        copies = dice.between(20, 120)
        return Item(uid, "job", "fault.job", "default", deed, copies=copies)

    def _doomed(self, dice: Dice, uid: str) -> Item:
        return Item(uid, "job", "fault.doomed", "default", {"uid": uid, "how": "fails"}, key=uid)

    def _delayed(self, dice: Dice, uid: str) -> Item:
        return self._job(dice, uid, delay_ms=dice.between(50, 3000))

    def _twins(self, dice: Dice, uid: str) -> Item:
        return self._job(dice, uid, key=f"key {uid}", twins=dice.between(2, 4), id=None)

    def _call(self, dice: Dice, uid: str) -> Item:
        language = dice.pick(self._languages)
        deed = {"uid": uid, "ms": dice.between(0, 50)}
        return Item(uid, "activity", f"fault.{language}", language, deed, id=_id(dice))

    def _poison(self, dice: Dice, uid: str) -> Item:
        deed = {"uid": uid, "how": "kill"}
        return Item(uid, "job", "fault.job", "default", deed, id=_id(dice))

    def _blocker(self, dice: Dice, uid: str) -> Item:
        deed = {"uid": uid, "how": "block", "block_ms": dice.between(4000, 11_000)}
        return Item(uid, "job", "fault.job", "default", deed, id=_id(dice))

    def _user(self, dice: Dice, uid: str) -> Item:
        """Answer a job whose body uses the engine itself."""
        deed = {"uid": uid, "how": "uses", "ms": dice.pick((0, 20))}
        return Item(uid, "job", "fault.job", "default", deed, id=_id(dice))

    def _starter(self, dice: Dice, uid: str) -> Item:
        """Answer a job whose body starts workflows, which its own process is to run at once."""
        flows: list[Deed] = []
        for n in range(dice.between(1, 8)):
            inner = f"{uid}.{n}"
            first = self._deed(dice, f"{inner}.0", 1)
            flows.append({"uid": inner, "deeds": dice.pick(([], [], [first]))})
        deed = {"uid": uid, "how": "starts", "flows": flows}
        return Item(uid, "job", "fault.job", "default", deed, id=_id(dice))

    def _huge(self, dice: Dice, uid: str) -> Item:
        """Answer a job that fails with ten megabytes of words."""
        return Item(uid, "job", "fault.doomed", "default", {"uid": uid, "how": "huge"}, key=uid)

    def _throng(self, dice: Dice, uid: str) -> Item:
        """Start many jobs at once that are busy for seconds, in Python some of them in threads."""
        threads = dice.chance(25)
        deed = {"uid": uid, "ms": dice.between(2000, 3000)}
        if threads:
            return Item(uid, "activity", "fault.thread", "python", deed, copies=100)
        return Item(uid, "job", "fault.job", "default", deed, copies=250)

    def _steps(self, dice: Dice, uid: str) -> Item:
        """Answer a workflow with five hundred steps at once."""
        steps = [{"do": "step", "uid": f"{uid}.{n}", "ms": 1000} for n in range(500)]
        spec = {"uid": uid, "deeds": [{"do": "all", "uid": f"{uid}.all", "deeds": steps}]}
        language = dice.pick(self._languages)
        return Item(uid, "workflow", f"fault.{language}_flow", language, spec, id=_id(dice))

    def _deaf(self, dice: Dice, uid: str) -> Item:
        """Answer a workflow that waits for nobody: a signal that a failover loses never comes."""
        return self._flow(dice, uid, signalled=False)

    def _flow(self, dice: Dice, uid: str, *, signalled: bool = True, **more: Any) -> Item:
        language = dice.pick(self._languages)
        deeds = self._deeds(dice, uid, depth=0)
        signals = _signals(dice, uid, dice.between(1, 6)) if dice.chance(40) and signalled else []
        if signals:
            take = {"do": "take", "uid": f"{uid}.take", "name": "go", "count": _wanted(signals)}
            deeds.insert(dice.between(0, len(deeds)), take)
        spec = {"uid": uid, "deeds": deeds}
        more = {"id": _id(dice), "signals": signals, **more}
        return Item(uid, "workflow", f"fault.{language}_flow", language, spec, **more)

    def _cancelled(self, dice: Dice, uid: str) -> Item:
        return self._flow(dice, uid, end_ms=dice.pick((0, 20, 100, 300, 1000)))

    def _halted(self, dice: Dice, uid: str) -> Item:
        return self._job(dice, uid, end_ms=dice.pick((0, 10, 30, 110)))

    def _terminated(self, dice: Dice, uid: str) -> Item:
        return self._flow(dice, uid, end_ms=dice.pick((0, 100, 500)), end="terminate")

    def _sleepers(self, dice: Dice, uid: str) -> Item:
        """Start many timers in one workflow, due over a minute."""
        sleeps = [
            {"do": "sleep", "uid": f"{uid}.{n}", "ms": dice.between(1, 60_000)} for n in range(100)
        ]
        spec = {"uid": uid, "deeds": [{"do": "all", "uid": f"{uid}.all", "deeds": sleeps}]}
        language = dice.pick(self._languages)
        return Item(uid, "workflow", f"fault.{language}_flow", language, spec, id=_id(dice))

    def _flood(self, dice: Dice, uid: str) -> Item:
        """Send many signals to one workflow, from twenty senders at once."""
        language = dice.pick(self._languages)
        signals = [Signal(n % 20, "go", f"{uid}:{n}", keyed=True) for n in range(400)]
        deeds: list[Deed] = []
        for n in range(0, len(signals), 10):  # steps between them: it is busy when it is killed
            take = {"do": "take", "uid": f"{uid}.take{n}", "name": "go", "count": 10}
            deeds += [take, {"do": "step", "uid": f"{uid}.{n}", "ms": 60}]
        spec = {"uid": uid, "deeds": deeds}
        name = f"fault.{language}_flow"
        return Item(uid, "workflow", name, language, spec, id=_id(dice), signals=signals)

    # --- deeds of a workflow ---

    def _deeds(self, dice: Dice, uid: str, depth: int) -> list[Deed]:
        count = dice.between(1, 5 - 2 * depth)
        return [self._deed(dice, f"{uid}.{n}", depth) for n in range(count)]

    def _deed(self, dice: Dice, uid: str, depth: int) -> Deed:
        weights = {"step": 30, "call": 30, "sleep": 12}
        if depth == 0:
            weights |= {"all": 12, "first": 8, "child": 10}
        do = dice.weighted(weights)
        deed: Deed = {"do": do, "uid": uid, "ms": dice.pick((0, 0, 5, 30, 150))}
        match do:
            case "call":
                deed |= {"lang": dice.pick(self._languages), "fails": dice.pick((0, 0, 0, 1))}
            case "sleep":
                deed["ms"] = dice.pick((0, 10, 100, 700))
            case "child":
                deed |= {"lang": dice.pick(self._languages), "deeds": self._deeds(dice, uid, 1)}
            case "all":
                deed["deeds"] = [
                    self._deed(dice, f"{uid}.{n}", 1) for n in range(dice.between(2, 5))
                ]
            case "first":
                deed |= {"ms": dice.between(1, 200), "deeds": [self._deed(dice, f"{uid}.0", 1)]}
            case _:
                pass
        return deed


def _id(dice: Dice) -> str | None:
    """Answer an id of the client's own, or have the engine make one."""
    return str(uuid.UUID(int=dice.roll() << 64 | dice.roll(), version=4))


def _signals(dice: Dice, uid: str, count: int) -> list[Signal]:
    """Answer keyed signals, which the workflow waits for, and some others that nobody takes."""
    senders = dice.between(1, 3)
    found: list[Signal] = []
    for n in range(count):
        keyed = n == 0 or not dice.chance(20)
        name = "go" if keyed else "other"
        found.append(Signal(dice.between(1, senders), name, f"{uid}:{n}", keyed))
    return found


def _wanted(signals: Sequence[Signal]) -> int:
    return sum(signal.name == "go" for signal in signals)


# --- the model: what may come of an item ----------------------------------------------------


def agrees(deed: Deed, value: Any) -> bool:
    """Say whether this can be the value of a workflow with such a list of deeds."""
    deeds: list[Deed] = deed["deeds"]
    if not isinstance(value, list):
        return False
    values = cast("list[Any]", value)
    return len(values) == len(deeds) and all(map(_came, deeds, values))


def answers(deed: Deed, value: Any) -> bool:
    """Say whether a body can have answered so; its nonce is for the checker."""
    return isinstance(value, dict) and cast("Deed", value).get("uid") == deed["uid"]


def _came(deed: Deed, value: Any) -> bool:
    match deed["do"]:
        case "step" | "call":
            return answers(deed, value)
        case "sleep":
            return value == "slept"
        case "first":
            return value in ("sleep", "call")
        case "take":
            return isinstance(value, list) and len(set(cast("list[str]", value))) == deed["count"]
        case _:
            return agrees(deed, value)
