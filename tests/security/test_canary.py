"""A password is in no error, log or traceback, whatever goes wrong and whoever asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from security_servers import CANARY, QUOTED, Place

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.xdist_group("security")

# What each program does with its URLs: print all that a user might.
PYTHON = """
import logging, sys, traceback
logging.basicConfig(level=logging.DEBUG)
from workflows import Client
for url in sys.argv[1:]:
    print("=====", flush=True)
    client = Client(url or None, schema="canaries")
    print(repr(client), str(client), repr(client.engine), str(client.engine))
    try:
        client.migrate_sync()
        print("it works")
    except Exception as error:
        print(repr(error), str(error), vars(error), repr(error.__cause__), repr(error.__context__))
        traceback.print_exc(file=sys.stdout)
    client.close(0)
"""
NODE = """
const { inspect } = require('node:util')
const { Client } = require(process.argv[1])
const show = (what) => console.log(inspect(what, { depth: 9, getters: true }), String(what))
void (async () => {
  for (const url of process.argv.slice(2)) {
    console.log('=====')
    const client = new Client({ url: url || undefined, schema: 'canaries' })
    show(client)
    try {
      await client.migrate()
      console.log('it works')
    } catch (error) {
      show(error)
      console.log(error.stack, JSON.stringify(error))
    }
    await client.close()
  }
})()
"""
C = """
import json, sys
sys.path.insert(0, sys.argv[1])
from abi_host import Host
host = Host()
for url in sys.argv[2:]:
    print("=====", flush=True)
    named = {"database_url": url} if url else {}
    config = {"schema": "canaries", "migrate": True, **named}
    status, engine, error = host.open(json.dumps(config).encode())
    print(error or "it works")
"""
DOCTOR = """
import subprocess, sys
for url in sys.argv[1:]:
    print("=====", flush=True)
    named = ["--database-url", url] if url else []
    subprocess.run([sys.executable, "-m", "workflows", *named, "doctor"], stderr=subprocess.STDOUT)
"""

HOSTS = {
    "Python": [sys.executable, "-X", "dev", "-c", PYTHON],
    "Node": ["node", "-e", NODE, str(ROOT / "adapters/node")],
    "C": [sys.executable, "-c", C, str(ROOT / "tests/abi")],
    "doctor": [sys.executable, "-c", DOCTOR],
}


def outputs(host: str, *urls: str, **variables: str) -> list[str]:
    """Answer what was printed for each URL, and what was logged for all of them."""
    ended = subprocess.run(
        [*HOSTS[host], *urls],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    first, *printed = ended.stdout.split("=====")
    assert len(printed) == len(urls), ended.stderr
    check(first + ended.stderr)
    return printed


def check(text: str, says: str = "") -> None:
    for secret in (CANARY, QUOTED, "s3cret", "5up3r"):
        assert secret not in text
    assert says in text


@pytest.mark.parametrize("host", HOSTS)
def test_no_failure_shows_the_password(host: str, plain: Place) -> None:
    failures = {
        plain.url().replace(str(plain.port), "1"): "cannot be reached",
        plain.url(host="nowhere.invalid"): "cannot be reached",
        plain.url(password=QUOTED + "-not"): "refused the user or the password",
        plain.url().replace("/canaries?", "/nothing?"): "does not exist",
        plain.url(sslmode="require"): "TLS",
        plain.url(sslmode="verify-full", sslrootcert="/nowhere"): "cannot be read",
        plain.url().replace(str(plain.port), "no-port"): "cannot be read",
        plain.url(password=CANARY): "cannot be read",
        plain.url(password="1/" + CANARY): "cannot be read",
        plain.url(pasword=QUOTED): "refused",
        f"host=127.0.0.1 port=1 user=app password='{CANARY}'": "cannot be reached",
        f"host=127.0.0.1 port=1 password='{CANARY}": "cannot be read",
    }
    for text, says in zip(outputs(host, *failures), failures.values(), strict=True):
        check(text, says)


@pytest.mark.parametrize("host", ["Python", "Node", "C"])
def test_a_password_from_elsewhere_is_used_and_not_shown(
    host: str, plain: Place, tmp_path: Path
) -> None:
    bare = f"postgresql://app@127.0.0.1:{plain.port}/canaries"
    passes, services = tmp_path / "passes", tmp_path / "services"
    passes.write_text(f"127.0.0.1:{plain.port}:*:app:{CANARY}\n")
    passes.chmod(0o600)
    settings = f"host=127.0.0.1\nport={plain.port}\ndbname=canaries\nuser=app\npassword={CANARY}\n"
    services.write_text(f"[canaries]\n{settings}")
    ways: list[tuple[str, dict[str, str]]] = [
        (bare, {"PGPASSWORD": CANARY}),
        (bare, {"PGPASSFILE": str(passes)}),
        ("postgresql://?service=canaries", {"PGSERVICEFILE": str(services)}),
        ("", {"WORKFLOWS_DATABASE_URL": plain.url()}),
    ]
    for url, variables in ways:
        check(outputs(host, url, **variables)[0], "it works")
    check(outputs(host, bare, PGPASSWORD=CANARY, PGSSLMODE="require")[0], "TLS")
    check(outputs(host, bare, PGPASSWORD=CANARY + "-not")[0], "refused the user or the password")
