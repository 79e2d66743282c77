"""Servers with passwords, one with TLS and one without, and certificates for them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import Server

# The password of both roles: no output of anybody may have it.
CANARY = "canary-5up3r/s3cret"
QUOTED = "canary-5up3r%2Fs3cret"

RULES = """\
local all bench trust
hostssl all secured 127.0.0.1/32 scram-sha-256
host all app 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class Place:
    """A server's port, and the certificates of who vouches for it and of who does not."""

    port: int
    authority: Path
    stranger: Path
    server: Guarded

    def url(
        self, user: str = "app", password: str = QUOTED, host: str = "127.0.0.1", **parameters: str
    ) -> str:
        extra = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{user}:{password}@{host}:{self.port}/canaries?{extra}"


def knows_tls(binaries: Path) -> bool:
    """Say whether a server was built with OpenSSL."""
    program = binaries / "postgres"
    return program.is_file() and b"SSL_accept" in program.read_bytes()


@contextmanager
def serve(binaries: Path, *, tls: bool) -> Generator[Place]:
    """Run a server with passwords, for as long as the `with` block."""
    with tempfile.TemporaryDirectory(prefix="workflows-security-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the server may be another user's
        rules = directory / "hba"
        rules.write_text(RULES if tls else RULES.replace("hostssl", "host"))
        for authority in ("authority", "stranger"):
            certify(directory, authority)
        sign(directory, "authority", "localhost")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(_free_port()),
            "hba_file": str(rules),
            "fsync": "off",
        }
        if tls:
            settings |= {
                "ssl": "on",
                "ssl_cert_file": str(directory / "localhost.crt"),
                "ssl_key_file": str(directory / "localhost.key"),
            }
        with Guarded(binaries, directory, **settings) as server:
            authority, stranger = directory / "authority.crt", directory / "stranger.crt"
            yield Place(int(settings["port"]), authority, stranger, server)


class Guarded(Server):
    """A server with roles that have to give a password."""

    def url(self, name: str) -> str:
        return super().url(name) + "&port=" + self.settings["port"]

    def make(self, data: Path) -> None:
        super().make(data)
        if self._account and (key := self.settings.get("ssl_key_file")):
            shutil.chown(key, self._account["user"], self._account["group"])

    def prepare(self) -> None:
        for role in ("app", "secured"):
            self.query(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
        self.query("CREATE DATABASE canaries OWNER app")
        self.query("GRANT CREATE ON DATABASE canaries TO secured")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certify(directory: Path, name: str) -> None:
    """Make somebody who signs certificates, and is trusted for his own sake."""
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.crt")),
    )


def sign(directory: Path, authority: str, host: str) -> None:
    """Make a certificate for one host, and no other."""
    extension = directory / "extension"
    extension.write_text(f"subjectAltName = DNS:{host}\n")
    signer, subject = directory / authority, directory / host
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}"),
        *("-keyout", f"{subject}.key", "-out", f"{subject}.csr"),
    )
    _openssl(
        *("x509", "-req", "-in", f"{subject}.csr", "-days", "2", "-extfile", str(extension)),
        *("-CA", f"{signer}.crt", "-CAkey", f"{signer}.key", "-CAcreateserial"),
        *("-out", f"{subject}.crt"),
    )
    subject.with_suffix(".key").chmod(0o600)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
