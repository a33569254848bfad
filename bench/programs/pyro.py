"""Pyro5 as a contestant: not encrypted, one proxy and one thread for each request in flight.

python pyro.py serve
python pyro.py ask CELL ADDRESS
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from typing import Any

import Pyro5.api
import steered
from cell import read
from ours import ask_in_threads


@Pyro5.api.expose
class Echo:
    def echo(self, message: Any) -> Any:
        return message


def serve() -> None:
    daemon = Pyro5.api.Daemon("127.0.0.1")
    steered.serving(json.dumps(str(daemon.register(Echo))))
    daemon.requestLoop()


def ask(cell_text: str, server: str) -> None:
    cell, uri = read(cell_text), json.loads(server)
    mine, numbers = threading.local(), itertools.count()
    free = [Pyro5.api.Proxy(uri) for _ in range(cell.in_flight)]

    def request(message: Any) -> Any:
        proxy = getattr(mine, "proxy", None)
        if proxy is None:  # each slice has new threads, which take over the proxies of the last slice's threads
            proxy = mine.proxy = free[next(numbers) % len(free)]
            proxy._pyroClaimOwnership()
        return proxy.echo(message)

    steered.ask(lambda seconds: ask_in_threads(request, cell, seconds))


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
