"""What some tests need from the machine. Without it they are skipped, and say so."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from bokbok_interop.peers.base import Unavailable
from bokbok_interop.peers.engine import Engine, find_endpoint

__all__ = ["client", "haproxy"]


def haproxy() -> str:
    """The path of HAProxy, which Debian installs where only root looks for programs."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    return program


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """The SDK's client of the container engine that is here."""
    try:
        one = Engine(find_endpoint()).new_client()
    except Unavailable as why:
        pytest.skip(str(why))
    with contextlib.closing(one):
        yield one
