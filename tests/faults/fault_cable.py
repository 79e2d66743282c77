"""A host of its own for a worker, and a cable to it that can be pulled without a word."""

from __future__ import annotations

import os
import subprocess
from typing import Self

# Nobody has this hardware address, so what is sent to it is dropped: no RST, no ICMP.
_NOBODY = "02:00:00:00:00:fe"


class Cable:
    """A network namespace, joined to this one by a pair of interfaces for a `with` block.

    Needs to be root, and Linux. The addresses are of the block that RFC 2544 sets apart for tests.
    """

    def __init__(self) -> None:
        self.namespace = f"workflows-{os.getpid()}"
        self._ends = (f"wfh{os.getpid()}", f"wfn{os.getpid()}")
        block, third = divmod(os.getpid() % (2 * 256), 256)
        self.here, self.there = (f"198.{18 + block}.{third}.{n}" for n in (1, 2))

    @property
    def inside(self) -> tuple[str, ...]:
        """What comes before a command that is to run at the other end."""
        return ("ip", "netns", "exec", self.namespace)

    def __enter__(self) -> Self:
        here, there = self._ends
        _ip("netns", "add", self.namespace)
        try:
            _ip("link", "add", here, "type", "veth", "peer", there, "netns", self.namespace)
            _ip("address", "add", f"{self.here}/30", "dev", here)
            _ip("link", "set", here, "up")
            self._there("address", "add", f"{self.there}/30", "dev", there)
            self._there("link", "set", there, "up")
            self._there("link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _ip("netns", "delete", self.namespace)  # and the pair with it

    def pull(self) -> None:
        """Lose all that either end sends from now on."""
        here, there = self._ends
        _ip("neighbour", "replace", self.there, *_dead(here))
        self._there("neighbour", "replace", self.here, *_dead(there))

    def plug_in(self) -> None:
        """Lose nothing any more."""
        here, there = self._ends
        _ip("neighbour", "delete", self.there, "dev", here)
        self._there("neighbour", "delete", self.here, "dev", there)

    def _there(self, *arguments: str) -> None:
        _ip("-netns", self.namespace, *arguments)


def _dead(device: str) -> tuple[str, ...]:
    return ("lladdr", _NOBODY, "nud", "permanent", "dev", device)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
