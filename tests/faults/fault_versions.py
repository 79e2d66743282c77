"""A rolling deploy of a library that brings a migration, and of one that is a version behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fault_clients import within
from fault_overlay import built, overlay
from fault_server import ROOT, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fault_fleet import Member
    from fault_world import World

_DATABASE = "faults"
_BUILD = ROOT / "build" / "faults" / "versions"
_MIGRATIONS = ROOT / "migrations"
_MODEL = "core/model/execution.go"
_WORDS = {"schema_too_new": "knows only", "schema_outdated": "this library needs"}
# What a client does first, in a process of its own: a process has one library.
_CLIENT = """
import asyncio
from workflows import Client, WorkflowsError

async def main():
    try:
        async with Client() as client:
            print({call})
    except WorkflowsError as error:
        print(error.code)

asyncio.run(main())
"""
_CREATE = _CLIENT.format(call='await client.create([{"kind": "job", "name": "fault.job"}])')
_MIGRATE = _CLIENT.format(call='(await client.migrate())["version"]')


@dataclass
class Image:
    """The library as it was or will be: with another newest migration."""

    name: str
    version: int
    # Files of migrations and what is in them; none takes one away.
    files: Mapping[str, str | None]
    library: Path = field(init=False)

    def build(self) -> None:
        """Build it beside this one; nothing of what is checked out changes."""
        model, ours = (ROOT / _MODEL).read_text(), f"const SchemaVersion = {newest()}\n"
        if ours not in model:
            raise RuntimeError(f"{_MODEL} does not say: {ours}")
        changed: dict[str, str | None] = {
            _MODEL: model.replace(ours, f"const SchemaVersion = {self.version}\n")
        }
        changed |= {f"migrations/{name}": text for name, text in self.files.items()}
        self.library = built(overlay(_BUILD / self.name, changed))

    @property
    def environment(self) -> dict[str, str]:
        return {"WORKFLOWS_LIBRARY": str(self.library)}


def newest() -> int:
    """Answer the version of the newest migration that is checked out."""
    return max(int(path.name.split("_")[0]) for path in _MIGRATIONS.glob("*.up.sql"))


def images() -> tuple[Image, Image]:
    """Build the library one version behind, and one ahead, whose migration adds a column."""
    ours = newest()
    gone = {path.name: None for path in _MIGRATIONS.glob(f"{ours:06}_*.sql")}
    column = "ALTER TABLE workflows.executions {} COLUMN of_the_next_version{};\n"
    new = f"{ours + 1:06}_next"
    added = {
        f"{new}.up.sql": column.format("ADD", " integer"),
        f"{new}.down.sql": column.format("DROP", ""),
    }
    older, newer = Image("older", ours - 1, gone), Image("newer", ours + 1, added)
    for image in (older, newer):
        image.build()
    return older, newer


async def versions(world: World) -> None:
    """Deploy the next version under load; who does not fit the schema refuses it."""
    older, newer = await asyncio.to_thread(images)
    deploy = _Deploy(world)
    await deploy.refused(older, "schema_too_new")
    await deploy.refused(newer, "schema_outdated")
    await deploy.migrate(newer)
    await deploy.refused(None, "schema_too_new")
    world.fleet.give(newer.environment)
    old = list(world.fleet.members)
    for member in old:
        await asyncio.sleep(world.duration / (len(old) + 1))
        if member.process.exit_code is not None:  # it works on, although the schema has changed
            world.wrong.append(f"{member.name} ended before it was told to")
        world.fleet.retire(member)
    await deploy.refused(older, "schema_too_new")
    world.figures |= {"versions_refused": deploy.refusals, "versions_replaced": len(old)}


class _Deploy:
    """What is done to a world, and how often it was refused."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.refusals = 0

    async def refused(self, image: Image | None, code: str) -> None:
        """See workers and a client refuse, with this image or the library that is here."""
        world, environment = self._world, image.environment if image else {}
        world.fleet.note("wrong_version", image=image.name if image else "ours")
        members = [world.fleet.launch(each, environment) for each in world.scenario.fleet]

        async def ended() -> bool:
            return all(member.process.exit_code is not None for member in members)

        if not await within(30, ended):
            world.wrong.append(f"a worker lives on that should say {code}")
        for member in members:
            await self._look_at(member, code)
        said = await asyncio.to_thread(self._run, _CREATE, environment)
        if said.strip() != code:
            world.wrong.append(f"a client said {said}, not {code}")
        self.refusals += len(members) + 1

    async def _look_at(self, member: Member, code: str) -> None:
        if not member.process.exit_code or _WORDS[code] not in member.process.output:
            self._world.wrong.append(
                f"{member.name} did not refuse ({code}): {member.process.output}"
            )
        member.process.clear_away()
        query = f"SELECT count(*) FROM {SCHEMA}.workers WHERE name = '{member.name}'"
        counted = await asyncio.to_thread(self._world.server.query, query, _DATABASE)
        if counted.strip() != "0":
            self._world.wrong.append(f"{member.name} was registered all the same")

    async def migrate(self, image: Image) -> None:
        """Bring the schema to an image's version while everybody works."""
        said = await asyncio.to_thread(self._run, _MIGRATE, image.environment)
        self._world.fleet.note("migrated", version=image.version)
        if said.strip() != str(image.version):
            self._world.wrong.append(f"migrated to {said}, not to {image.version}")

    def _run(self, code: str, environment: Mapping[str, str]) -> str:
        url = self._world.server.url(_DATABASE)
        given = {"WORKFLOWS_DATABASE_URL": url, "WORKFLOWS_SCHEMA": SCHEMA, **environment}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env={**os.environ, **given}, capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else done.stderr
