"""The peer to meet: one that the suite can start and steer, or just a server's address."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from bokbok.address import Address, parse_address
from bokbok.errors import AddressError
from bokbok_interop.peers.base import Peer
from bokbok_interop.peers.known import PeerNameError, peer_from_option

__all__ = ["Target", "TargetError", "find_target"]


class TargetError(ValueError):
    """The text does not name a peer that can be met."""


@dataclass(frozen=True)
class Target:
    """The peer to meet.

    Attributes:
        text: the text of the command line.
        name: its name in the folder and in the matrix.
        option: its value in `bokbok-interop run --peer NAME=…`; empty for an address.
        address: the address of a server, if nothing else is known.
    """

    text: str
    name: str
    option: str = ""
    address: Address | None = None

    def peer(self) -> Peer:
        """The peer, to be prepared, started and disposed of. Not for an address."""
        return peer_from_option(f"{self.name}={self.option}")


def find_target(text: str, name: str | None) -> Target:
    """Decide whether a text is an image, the command of a puppet, or an address.

    Args:
        text: `docker:IMAGE`; `HOST:PORT` or the path of a socket; the command of a puppet; or an image.
        name: its name; `None`: a name that the text suggests.

    Raises:
        TargetError: the name is not valid, or the address cannot be read.
    """
    words = shlex.split(text) if text.strip() else []
    if not words:
        raise TargetError("TARGET is empty; expected an image, a puppet's command or an address")
    if text.startswith("docker:"):
        return _steered(text, name or _short(words[0].removeprefix("docker:")), text)
    if Path(text).is_socket() or (re.fullmatch(r"\S*:\d+", text) and "/" not in text):
        try:
            return Target(text, name or "server", address=parse_address(text))
        except AddressError as error:
            raise TargetError(str(error)) from None
    if shutil.which(words[0]) is not None:
        return _steered(text, name or _short(words[0]), text)
    return _steered(text, name or _short(words[0]), f"docker:{text}")


def _short(words: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", Path(words).name.partition(":")[0]) or "egg"


def _steered(text: str, name: str, option: str) -> Target:
    target = Target(text, name, option)
    try:
        target.peer()
    except PeerNameError as error:
        raise TargetError(str(error)) from None
    return target
