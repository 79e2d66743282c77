"""What a database URL says about TLS is done, and nothing less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from security_servers import Place
from workflows import Client, DatabaseUnavailable, InvalidConfig
from workflows._operations import Operation

pytestmark = pytest.mark.xdist_group("security")


def reach(url: str, **config: Any) -> str:
    """Answer how hints would be heard, which takes a connection of each kind."""
    client = Client(url, schema="tls", **config)
    try:
        client.migrate_sync()
        return str(client.engine.call(Operation.STATS, {"try_listen": True})["listening"])
    finally:
        client.close(0)


# `secured` may only log in over TLS.
@pytest.mark.parametrize(
    ("host", "mode", "trusted"),
    [
        ("localhost", "verify-full", True),
        ("127.0.0.1", "verify-ca", True),
        ("127.0.0.1", "require", False),
        ("127.0.0.1", "prefer", False),
        ("127.0.0.1", "allow", False),
    ],
)
def test_a_connection_is_encrypted_and_verified_as_far_as_the_url_says(
    secured: Place, host: str, mode: str, trusted: bool
) -> None:
    root = {"sslrootcert": str(secured.authority)} if trusted else {}
    assert reach(secured.url("secured", host=host, sslmode=mode, **root)) == "on"


@pytest.mark.parametrize(
    ("host", "mode", "root"),
    [
        ("127.0.0.1", "verify-full", "authority"),  # it is localhost's
        ("localhost", "verify-full", "stranger"),
        ("localhost", "verify-ca", "stranger"),
        ("localhost", "require", "stranger"),  # as in libpq: a root is there to be used
        ("localhost", "verify-full", None),
    ],
)
def test_a_server_that_cannot_prove_who_it_is_gets_no_password(
    secured: Place, host: str, mode: str, root: str | None
) -> None:
    roots = {"sslrootcert": str(getattr(secured, root))} if root else {}
    with pytest.raises(DatabaseUnavailable, match="certificate"):
        reach(secured.url("secured", host=host, sslmode=mode, **roots))


def test_who_may_only_come_encrypted_is_refused_without(secured: Place) -> None:
    with pytest.raises(DatabaseUnavailable):
        reach(secured.url("secured", sslmode="disable"))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_tls_is_refused_where_the_url_asks_for_it(plain: Place, mode: str) -> None:
    assert reach(plain.url(sslmode="disable")) == "on"
    with pytest.raises(DatabaseUnavailable, match="TLS"):
        reach(plain.url(sslmode=mode))


def test_the_way_to_listen_has_settings_of_its_own(secured: Place, plain: Place) -> None:
    url = secured.url("secured", sslmode="require")
    assert "TLS" in reach(url, listen_url=plain.url(sslmode="require"))
    stranger = secured.url("secured", host="localhost", sslmode="verify-full")
    assert "certificate" in reach(url, listen_url=stranger)


def test_the_environment_says_it_as_well(
    secured: Place, plain: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(secured.authority))
    assert reach(secured.url("secured", host="localhost")) == "on"
    with pytest.raises(DatabaseUnavailable, match="certificate"):
        reach(secured.url("secured"))
    with pytest.raises(DatabaseUnavailable, match="TLS"):
        reach(plain.url(host="localhost"))


def test_a_root_that_is_not_there_is_an_error(secured: Place, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig):
        reach(
            secured.url(host="localhost", sslmode="verify-full", sslrootcert=str(tmp_path / "no"))
        )
