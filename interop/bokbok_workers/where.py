"""Where a scheduler is, as a command line says it, and which addresses are allowed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

__all__ = ["Where", "WorkersError"]

MOST_LOCAL = 256
"""The most processes of this machine."""


class WorkersError(Exception):
    """The scheduler cannot be used, or its workers cannot; the message says why."""


@dataclass(frozen=True)
class Where:
    """Where a scheduler is.

    Attributes:
        address: `tcp://HOST:PORT` or `tls://HOST:PORT`; empty for processes of this machine.
        workers: how many processes of this machine.
    """

    address: str = ""
    workers: int = 0

    @classmethod
    def parse(cls, text: str) -> Where:
        """From `tcp://HOST:PORT`, `tls://HOST:PORT` or `local:N`.

        Raises:
            ValueError: it is none of these, or another machine without TLS.
        """
        if text.startswith("local:"):
            count = text.removeprefix("local:")
            if not count.isdigit() or not 1 <= int(count) <= MOST_LOCAL:
                raise ValueError(f"{text!r}: expected local:N with N from 1 to {MOST_LOCAL}")
            return cls(workers=int(count))
        scheme, _, rest = text.partition("://")
        host, colon, port = rest.rpartition(":")
        if scheme not in ("tcp", "tls") or not host or not colon or not port.isdigit():
            raise ValueError(f"{text!r}: expected tcp://HOST:PORT, tls://HOST:PORT or local:N")
        if scheme == "tcp" and not _is_loopback(host.strip("[]")):
            raise ValueError(
                f"{text!r}: a scheduler on another machine must be tls://, since it and its workers run whatever they "
                "are sent"
            )
        return cls(address=text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
