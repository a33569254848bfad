"""Statistics for Prometheus, over HTTP, for this machine alone.

What this module knows: the names of the metrics, and how its official client library is asked to write them. The
library is an extra: `pip install 'bokbok[metrics]'`.
"""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import MetricsHandler
from prometheus_client.registry import Collector

from .._front.statistics import REFUSALS, Statistics
from .._sockets import listen
from ..address import Address

__all__ = ["check_metrics_address", "metrics_served"]

_SECONDS = 5.0
"""Seconds for one scrape: a scraper sends its request at once, and reads the answer at once."""

_NOW = {
    "connections": "Connections, including those of which only a handler is left.",
    "hellos": "Connections that have not said who they are yet.",
    "penalised": "Sources whose refusals are remembered.",
    "running": "Handlers that run.",
    "parked": "Handlers that wait for answers to requests of their own.",
    "waiting": "Connections whose requests wait for a slot for a handler.",
    "held_bytes": "Memory that is held for all other ends, estimated.",
    "heaviest_bytes": "Memory that is held for the connection which holds most, estimated.",
    "processes": "Processes that serve.",
}
_EVER = {
    "accepted": "Connections that were let in.",
    "handled": "Requests whose handler was started.",
    "died": "Processes that have died and were replaced.",
}


class _Statistics(Collector):
    def __init__(self, statistics: Callable[[], Statistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """The server's statistics, as metrics."""
        now = self._statistics()
        for name, text in _NOW.items():
            yield GaugeMetricFamily(f"bokbok_{name}", text, value=getattr(now, name.removesuffix("_bytes")))
        for name, text in _EVER.items():
            yield CounterMetricFamily(f"bokbok_{name}", text, value=getattr(now, name))
        refused = CounterMetricFamily("bokbok_refused", "What was refused, by its kind.", labels=["kind"])
        for kind in sorted({*REFUSALS, *now.refused}):
            refused.add_metric([kind], now.refused.get(kind, 0))
        yield refused


def check_metrics_address(address: Address) -> None:
    """Refuse an address that other machines can reach: the numbers would tell an attacker whether an attack works.

    Raises:
        click.BadParameter: it is neither a loopback address nor a Unix socket.
    """
    if address[0] == "unix" or address[1] == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address[1] or "").is_loopback:
            return
    raise click.BadParameter(
        "expected a loopback address, such as localhost:9100, or a Unix socket", param_hint="'--metrics'"
    )


class _Server(http.server.HTTPServer):
    """Answers one request after the other on sockets that are bound already."""

    def __init__(self, sock: Any, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        sock.setblocking(True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that went away in the middle is not worth a traceback."""


@contextlib.contextmanager
def metrics_served(address: Address, statistics: Callable[[], Statistics]) -> Iterator[Address]:
    """Answer Prometheus, in threads of its own, as long as the context lasts.

    Args:
        address: where: one that `check_metrics_address` has let pass.
        statistics: asked at each question.

    Returns:
        The address that was bound.

    Raises:
        ConnectFailed: it cannot listen there.
    """
    registry = CollectorRegistry()
    registry.register(_Statistics(statistics))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    handler = type("_Handler", (MetricsHandler,), {"registry": registry, "timeout": _SECONDS})
    listener = listen(address, 16)
    servers = [_Server(sock, handler) for sock in listener.sockets]
    threads = [threading.Thread(target=server.serve_forever, name="bokbok-metrics", daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield listener.address
    finally:
        for server in servers:
            server.shutdown()
        listener.close()
