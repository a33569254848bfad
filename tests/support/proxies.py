"""A real HAProxy in front of servers."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.needs import haproxy

__all__ = ["in_front"]


@contextlib.contextmanager
def in_front(
    folder: Path,
    servers: Sequence[str],
    *,
    program: Sequence[str] = (),
    frontend: Sequence[str] = (),
    backend: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """HAProxy, as long as the block runs. Clients connect to the Unix socket `front` in the folder.

    Args:
        folder: where its files are.
        servers: how each is described: a name, an address, options.
        program: more lines of its section `global`.
        frontend: more lines of what is about clients.
        backend: more lines of what is about servers.
    """
    timeouts = [f"timeout {what}" for what in ("connect 10s", "client 60s", "server 60s")]
    sections = {
        "global": ["maxconn 100", *program],
        "defaults": ["mode tcp", *timeouts],
        "frontend clients": [f"bind unix@{folder}/front", *frontend, "default_backend servers"],
        "backend servers": [*backend, *(f"server {server}" for server in servers)],
    }
    configuration = folder / "haproxy.cfg"
    configuration.write_text("".join("\n    ".join([name, *lines]) + "\n" for name, lines in sections.items()))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([haproxy(), "-db", "-f", configuration], stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
