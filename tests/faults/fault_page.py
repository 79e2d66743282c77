"""What is printed of runs, and the page that is published of them: docs/reliability.md."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import fault_elsewhere
import fault_invariants
import fault_peers
import fault_targets
from fault_markdown import cell, table
from fault_report import Report
from fault_targets import FORGETFUL

Figures = Mapping[str, Any]

_COLUMNS = {
    "executions": "executions",
    "faults": "faults",
    "lost": "lost",
    "doubled": "doubled",
    "stale_accepted": "stale writes accepted",
    "told_lost": "told of a lost lease",
    "crashes_counted": "crashes counted",
    "recovery_p50_s": "recovery p50, s",
    "recovery_p99_s": "p99, s",
    "wakeup_p50_ms": "wake-up p50, ms",
    "wakeup_p99_ms": "p99, ms",
    "deadlocks": "deadlocks",
}


def markdown(reports: Sequence[Report]) -> str:
    """Answer a table with a line for each run."""
    rows = [
        [
            each.scenario,
            each.row,
            *(cell(name, each.figures.get(name)) for name in _COLUMNS),
            str(each.figures["parked"].get("innocent", 0)),
            each.verdict,
        ]
        for each in reports
    ]
    return table(["scenario", "row", *_COLUMNS.values(), "innocents parked", "verdict"], rows)


def told(made: Report) -> str:
    """Answer a run in lines for a terminal, what was wrong first."""
    lines = [f"--- {made.scenario} ({_row(made)}): {made.about}; `{made.again}`"]
    lines += [f"WRONG: {each}" for each in made.wrong[:20]]
    if len(made.wrong) > 20:
        lines.append(f"and {len(made.wrong) - 20} more")
    width = max(map(len, made.figures))
    lines += [f"{name:{width}}  {value}" for name, value in made.figures.items()]
    return "\n".join(lines)


def _row(made: Report) -> str:
    rows = made.row.split()
    return f"row{'s' * (len(rows) > 1)} {', '.join(rows)}" if rows else "no row"


# --- in words ------------------------------------------------------------------------------

_RESUME = "when PostgreSQL answered again, something ended within {} (p50), {} (p99), {} at most"
_POOLED = "{} executions a second ended with workers that go directly and poll, {} through it"

# What a scenario says of itself: those of these figures that it has, unless they are nothing.
_WORDS: tuple[tuple[str, str], ...] = (
    ("pgbouncer", "PgBouncer {}"),
    ("crashes_counted", "{} crashes counted"),
    ("found_dead_p99_s", "the dead found after {} (p99)"),
    ("handovers", "{} put back and claimed again"),
    ("handover_p99_s", "within {} (p99)"),
    ("waited_p99_ms", "waits for a slot or a claim {} (p99)"),
    ("waited_max_ms", "{} at most"),
    ("wakeup_max_ms", "the longest wake-up {}"),
    ("timer_late_p99_ms", "timers late by {} (p99)"),
    ("overlapping_bodies", "{} bodies overlapped across a lost lease"),
    ("late_bodies", "{} bodies began late, after another's success"),
    ("signals_not_taken", "{} signals nobody took"),
    ("writes_refused", "{} writes refused as `lease_lost`"),
    ("told_ended", "{} holders told that it was ended from outside"),
    ("stalls_told", "{} times a worker said that it is stalled"),
    ("stall_told_p50_s stall_told_max_s", "stall told after {} (p50), {} at most"),
    ("stalls_untold", "{} of 9 s or more not told, as nothing came for who was blocked"),
    ("claims_while_stalled", "{} claims by who had said so"),
    ("resume_p50_s resume_p99_s resume_max_s", _RESUME),
    ("needless_recoveries", "{} taken from workers that had not died"),
    ("rerun_after_outages", "{} run again that ran when PostgreSQL went"),
    ("errors_surfaced", "{} calls of clients ended in an error"),
    ("errors_by_code", "by code {}"),
    ("starts_failed", "{} of them starts"),
    ("tried_again", "the library tried writes again by itself, because of {}"),
    ("unhandled_40001", "{} errors 40001 that came to somebody"),
    ("not_serialized", "{} times `could not serialize` in the server's log"),
    ("statements_cancelled", "statements cancelled there: {}"),
    ("killed_after_term", "{} killed 30 s after SIGTERM"),
    ("poison_claims_max", "a poison killed {} workers at most"),
    ("largest_error", "the largest error {} bytes"),
    ("notify_queue_percent", "the queue of NOTIFY {} % full"),
    ("panics", "{} panics of PostgreSQL"),
    ("resumed_max_s", "resumed within {} of room"),
    ("promoted_s", "promoted in {}"),
    ("a_write_to_the_standby", "a write to the standby ended in `{}`"),
    ("it_waited_s", "after {}"),
    ("overlapping_signals", "{} overlapping signals"),
    ("first_starts", "{} first starts"),
    ("start_errors", "{} errors of them"),
    ("first_starts_max_s", "fifty within {}"),
    ("killed_while_migrating", "{} killed while they migrated"),
    ("versions_refused", "{} processes of another version refused"),
    ("versions_replaced", "{} workers replaced by the next version's"),
    ("put_back", "{} put back for want of a function"),
    ("put_back_attempts_max", "{} attempts of these at most"),
    ("failures_beyond_the_bodies", "{} failures that were not their bodies' own"),
    ("bodies_at_once_max", "{} bodies at once in one process"),
    ("steps_at_once_max", "{} steps at once in one process"),
    ("rss_mb_max", "{} MB of memory at most"),
    ("threads_max", "{} threads at most"),
    ("clock_ahead_s", "the database's clock ahead by {}"),
    ("finished_rows", "{} finished rows"),
    ("dead_rows", "{} dead rows in the end"),
    ("claim_mean_ms_before claim_mean_ms_then", "a claim took {} before, {} then"),
    ("claim_max_ms_before claim_max_ms_then", "{} at most before, {} then"),
    ("claim_blocks_before claim_blocks_then", "{} blocks before, {} then"),
    ("ended_a_second_direct ended_a_second_pooled", _POOLED),
    (
        "finished_a_second_before finished_a_second_then",
        "{} executions a second ended before, {} then",
    ),
)
_EVEN_IF_NONE = {"start_errors", "failures_beyond_the_bodies"}
# What the words have said, or a table, or what is there for whoever looks into the file.
_SAID = {
    *_COLUMNS,
    *(name for names, _ in _WORDS for name in names.split()),
    *(
        "faults_ended",
        "ended",
        "claims",
        "parked",
        "recoveries",
        "calm_s",
        "proxy",
        "waited_p50_ms",
    ),
    *("timer_late_p50_ms", "timer_late_max_ms", "put_back_of_one_max"),
    *("claims_before", "claims_then", "claims_dearer", "throughput_divided_by"),
    *("pooler_divides_by", "slow_recoveries"),
}


def in_words(figures: Figures, tells: Collection[str] = ()) -> str:
    """Answer the figures that only some scenarios have, or that one is about.

    Args:
        figures: of a run.
        tells: those that are told also if they are nothing.
    """
    even_if_none = {*_EVEN_IF_NONE, *tells}
    said: list[str] = []
    for names, words in _WORDS:
        values = {name: figures.get(name) for name in names.split()}
        if None not in values.values() and (any(values.values()) or even_if_none & values.keys()):
            said.append(words.format(*(_quantity(*each) for each in values.items())))
    said += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in figures.items()
        if name not in _SAID and value is not None
    ]
    said += _through_proxy(figures.get("proxy", {}))
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _quantity(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        counts = cast("Mapping[str, int]", value)
        return ", ".join(f"{kind} {n:,}" for kind, n in counts.items()) or "none"
    if isinstance(value, str):
        return value
    if "_ms" in name:
        return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"
    if name.endswith("_s"):
        return f"{value:,.0f} s" if abs(value) >= 100 else f"{value:.{1 if value >= 0.1 else 2}f} s"
    return f"{value:,}"


def _through_proxy(proxy: Mapping[str, Any]) -> list[str]:
    """Say what the proxy has let through, and what it has not."""
    if not proxy:
        return []
    passed = f"{proxy['accepted']:,} connections, {proxy['transactions']:,} transactions"
    struck = {
        "swallowed": "notifications kept back",
        "cut": "replies of commits lost",
        "dropped": "connections dropped in the middle",
        "refused": "refused",
        "reset": "reset",
    }
    return [
        f"{passed} and {proxy['notifications']:,} notifications through the proxy",
        *(f"{proxy[name]:,} {words}" for name, words in struck.items() if proxy[name]),
    ]


# --- the page ------------------------------------------------------------------------------


def published(
    reports: Sequence[Report],
    build: Path,
    before: str = "",
    skipped: Sequence[str] = (),
    broken: Sequence[str] = (),
) -> str:
    """Answer the page of these runs, and of what else has left its figures in a directory.

    Args:
        reports: of the scenarios.
        build: where peers.json and mutants.json are, if those were run.
        before: the page as it was, where figures are missing, and what was written by hand.
        skipped: scenarios that could not be played; an earlier run may have left a report.
        broken: such as came to no report, which is as bad as a violation.
    """
    kinds = _counts(reports, "faults")
    programs = build / "elsewhere.json"
    mutants = build / "mutants.json", mutants_section, before
    peers = build / "peers.json", fault_peers.section, before
    others = programs, fault_elsewhere.section, before
    page = _PAGE.format(
        **_run(reports),
        **_sums(reports),
        by_hand=_by_hand(before),
        table=markdown(reports),
        targets=fault_targets.section(
            reports, json.loads(programs.read_text()) if programs.exists() else ()
        ),
        invariants=fault_invariants.section(reports),
        kinds=_kinds(kinds, _counts(reports, "faults_ended")),
        notes="\n".join([*map(_note, reports), *_skipped(reports, skipped)]),
        verdict=verdict([*broken, *(each.scenario for each in reports if each.wrong)], skipped),
        faults_done=sum(kinds.values()),
        elsewhere=_section(fault_elsewhere.TITLE, *others),
        mutants=_section("Guards taken out", *mutants),
        peers=_section("The same faults, other libraries", *peers),
    )
    return f"{page.rstrip()}\n"


def verdict(wrong: Sequence[str], skipped: Sequence[str] = ()) -> str:
    """Answer the verdict over scenarios, and beside it of which there is none."""
    told = f"VIOLATED in {', '.join(wrong)}" if wrong else "ok"
    return f"{told}; skipped: {', '.join(skipped)}" if skipped else told


def _counts(reports: Sequence[Report], name: str) -> dict[str, int]:
    """Sum up what is counted by kind, what there is most of first."""
    found: Counter[str] = Counter()
    for each in reports:
        found.update(each.figures.get(name, {}))
    return dict(found.most_common())


def _kinds(kinds: Mapping[str, int], ends: Mapping[str, int]) -> str:
    counted = table(["kind", "count"], [[kind, f"{n:,}"] for kind, n in kinds.items()])
    apart = ", ".join(f"{kind} {n:,}" for kind, n in ends.items())
    return f"{counted}\n\nTheir ends count as no faults: {apart}." if ends else counted


def _note(made: Report) -> str:
    told = (
        f"- **{made.scenario}** ({_row(made)}): {made.about}. {in_words(made.figures, made.tells)}"
    )
    return told.rstrip()


def _skipped(reports: Sequence[Report], skipped: Sequence[str]) -> list[str]:
    known = {each.scenario for each in reports}
    earlier = "; what is told of it is of an earlier run"
    return [f"- **{each}** was skipped{earlier if each in known else ''}." for each in skipped]


def _run(reports: Sequence[Report]) -> dict[str, Any]:
    """Answer what most scenarios were played with, and which were played otherwise."""
    played = Counter((each.seed, each.total, each.commit) for each in reports)
    [(most, _)] = played.most_common(1)
    others: dict[str, list[str]] = defaultdict(list)
    for each in reports:
        if (each.seed, each.total, each.commit) != most:
            others[_with(each.seed, each.total, each.commit)].append(each.scenario)
    again = "".join(f" Of these, {', '.join(names)} with `{how}." for how, names in others.items())
    return {
        "command": f"make faults {_with(*most)}",
        "again": again,
        "machine": reports[0].machine,
        "load": max(each.load for each in reports),
        "minutes": sum(each.seconds for each in reports) / 60,
    }


def _with(seed: int, seconds: float | None, commit: str) -> str:
    lasted = f" DURATION={seconds:g}" if seconds else ""
    return f"SEED={seed}{lasted}` at commit {commit}"


def _sums(reports: Sequence[Report]) -> dict[str, str]:
    def total(name: str, *, forgetful: bool | None = None) -> str:
        values = [
            each.figures.get(name)
            for each in reports
            if forgetful is None or (each.scenario in FORGETFUL) == forgetful
        ]
        counted = [value for value in values if value is not None]
        return f"{sum(counted):,}" if counted or not values else "not counted"

    return {
        "executions": total("executions"),
        "claims": total("claims"),
        "lost": total("lost", forgetful=False),
        "forgotten": total("lost", forgetful=True),
        "doubled": total("doubled"),
        "stale": total("stale_accepted"),
        "told": total("told_lost"),
        "refused": total("writes_refused"),
    }


def mutants_section(found: Mapping[str, Any]) -> str:
    """Answer the section about libraries that lack a guard, and who noticed."""
    rows = [
        [
            each["name"],
            each["without"],
            each["scenario"],
            "not caught" if each["seconds"] is None else f"{each['seconds']:.0f}",
            _inline(each["objection"]),
            each["tests"],
        ]
        for each in found["mutants"]
    ]
    names = [
        "mutant",
        "takes out",
        "scenario",
        "caught after, s",
        "objection",
        "Go tests that fail",
    ]
    controls = ", ".join(
        f"{each['scenario']} {each['seconds']:.0f} s" for each in found["controls"]
    )
    return _MUTANTS.format(**{**found, "controls": controls, "table": table(names, rows)})


_MUTANTS = """\
A rig that does not notice that a guard is missing proves nothing about it. `make mutants` takes
one after another out of the library and runs the rig until it objects; at commit {commit}, load
{load:.1f} in the end: **{verdict}**. What is not mutated was then run under the same scenarios,
for as long as the slowest mutant took there: {controls}.

{table}
"""


def _inline(text: str) -> str:
    """Leave out which execution, token or worker it was, which nobody can look up any more."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "…", text)
    return " ".join(text.replace("|", "\\|").split())[:160]


def _section(title: str, figures: Path, write: Callable[[Any], str], before: str) -> str:
    """Answer a section from its figures; without them, as it was on the page before."""
    if figures.exists():
        return f"## {title}\n\n{write(json.loads(figures.read_text()))}\n"
    there = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", before, re.DOTALL | re.MULTILINE)
    return f"{there[0].rstrip()}\n\n" if there else ""


def _by_hand(before: str) -> str:
    there = re.search(rf"{_BEGIN}\n(.*?){_END}\n", before, re.DOTALL)
    return there[1] if there else ""


_BEGIN, _END = "<!-- by hand -->", "<!-- by hand, its end -->"

_PAGE = """\
<!-- Written by `make faults` and `make reliability`, but for what is marked as by hand. -->

# Reliability

What the rig of [tests/faults](../tests/faults/README.md) measured: workers in Python and Node,
clients that journal every call outside the database, and a PostgreSQL with fsync on, while faults
happen to all of them in an order that follows from a seed. A checker then proves the invariants
over journals, an audit of every write, and the final tables.

`{command}, {minutes:.0f} minutes on {machine},
load {load:.1f}: **verdict {verdict}**. Times are those of a machine under that load.{again}

| | |
| --- | --- |
| executions | {executions} |
| claims | {claims} |
| faults | {faults_done:,} |
| acknowledged and lost | {lost} |
| acknowledged, and forgotten by a failover to an asynchronous replica that lagged | {forgotten} |
| ended twice | {doubled} |
| stale writes accepted | {stale} |
| writes refused as `lease_lost` | {refused} |
| holders told that their lease was lost, who dropped what they still had | {told} |

<!-- by hand -->
{by_hand}<!-- by hand, its end -->

A wake-up is counted from the commit that made an execution due to its claim, where a worker had a
free slot all that time. Waits for a slot, where all were busy, are told apart below. A recovery is
counted from the kill -9 of a worker to the next claim of what it held, without what crashed twice
and waits to be claimed alone; where nothing was counted so, from the stop or the death of a worker
to the next claim of anything that it held.

{table}

{targets}{invariants}## Faults by kind

{kinds}

## Scenarios

{notes}

{elsewhere}{mutants}{peers}"""
