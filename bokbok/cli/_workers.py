"""What `bokbok serve` serves, in this process or in several.

What this module knows: the options of the command as a server's arguments, and as what a worker's process is told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import click

from .._front.notices import shown
from .._front.worker import Where
from ..errors import BokbokError
from ..keys import Key
from ..processes import ProcessesError, Supervisor, Worker, start_processes
from ..sync import Connection, Server, start_server
from ..wire import Limits, Profile
from ..wire.profile import dump_profile, load_strategies, read_profile
from ._exit import Failure, Status, failure
from ._handler import load_handler
from ._options import guards, strategies_given
from ._serving import set_collector, start_logging

__all__ = ["What", "Workers", "serve_worker", "start_workers"]

_log = logging.getLogger("bokbok.cli")


@dataclass(frozen=True)
class What:
    """What is served: options of the command."""

    handler: str | None
    profile: Profile
    guards_off: tuple[str, ...]
    proxies: tuple[str, ...]
    shared_hellos: str | None
    unreachable: str
    collect: str
    verbose: bool

    def serve(
        self,
        start: Callable[..., Server],
        where: Where,
        user_to_key: Callable[[str], Sequence[Key] | None] | None,
        **at: Any,
    ) -> Server:
        """Start the server.

        Args:
            start: `start_server`.
            where: its address.
            user_to_key: who may connect; `None` for anybody.
            at: how it listens, and the limits, unless it is a worker's.
        """
        on_request = load_handler(self.handler) if self.handler is not None else _conformance_service()
        set_collector(self.collect)
        return start(
            where,
            on_request,
            user_to_key=user_to_key,
            on_open=_opened if self.verbose else None,
            on_close=_closed if self.verbose else None,
            proxies=self.proxies,
            profile=self.profile,
            guards=guards(self.guards_off),
            shared_hellos=_shared_hellos(self.shared_hellos, self.unreachable) if self.shared_hellos else None,
            **at,
        )


class _Users(Protocol):
    @property
    def keys(self) -> Mapping[str, Sequence[Key]] | None: ...

    @property
    def limits(self) -> Limits: ...


class Workers:
    """What the processes are told.

    Args:
        what: what they serve.
        quiet: the option.
        files: who may connect, and the limits.
    """

    def __init__(self, what: What, quiet: bool, files: _Users) -> None:
        self._what = what
        self._quiet = quiet
        self._files = files
        self._strategies = strategies_given()

    def arguments(self) -> dict[str, Any]:
        """For `Worker.arguments`. The users' keys as they were read, so that all processes have the same."""
        keys = self._files.keys
        return {
            "what": {
                **{name: getattr(self._what, name) for name in _PLAIN},
                "profile": dump_profile(self._what.profile),
            },
            "strategies": self._strategies,
            "quiet": self._quiet,
            "keys": {user: [key.to_bytes().hex() for key in each] for user, each in keys.items()}
            if keys is not None
            else None,
        }

    def replace(self, supervisor: Supervisor, changed: Mapping[str, str]) -> None:
        """As SIGHUP has it. In a thread: a signal that ends all of it is not to wait for that.

        Args:
            supervisor: of the processes.
            changed: as `withdraw` takes it.
        """
        threading.Thread(target=self._replace, args=(supervisor, changed), daemon=True).start()

    def _replace(self, supervisor: Supervisor, changed: Mapping[str, str]) -> None:
        try:
            supervisor.restart(self.arguments(), self._files.limits)
        except (ProcessesError, RuntimeError, ValueError) as error:
            if not supervisor.stopping:
                _log.error("SIGHUP: the processes go on as before: %s", error)
        else:
            _log.info("SIGHUP: new processes have taken over")
            withdraw(supervisor, changed)


def withdraw(server: Server | Supervisor, changed: Mapping[str, str]) -> None:
    """End the connections of users who are not what they were.

    Args:
        server: what they are connected to.
        changed: each user, and what has become of it.
    """
    for user, what in changed.items():
        ended = server.withdraw([user], f"the user {what}")
        _log.info("SIGHUP: user %s %s: %d of its connections closed", shown(user), what, ended)


_PLAIN = ("handler", "guards_off", "proxies", "shared_hellos", "unreachable", "collect", "verbose")


def start_workers(
    workers: Workers, where: Any, processes: int, retire_timeout: float, at: Mapping[str, Any]
) -> Supervisor:
    """Start the processes.

    Args:
        workers: what they are told.
        where: the address, or a `Listener`.
        processes: how many.
        retire_timeout: as `start_processes` takes it.
        at: how the socket is opened.

    Raises:
        Failure: they do not start.
        ConnectFailed: it cannot listen there.
    """
    try:
        return start_processes(
            where,
            f"{__name__}:{serve_worker.__name__}",
            processes=processes,
            arguments=workers.arguments(),
            limits=workers._files.limits,
            retire_timeout=retire_timeout,
            **at,
        )
    except ProcessesError as error:
        if error.status == Status.USAGE:
            raise click.UsageError(str(error)) from None
        raise Failure(Status(error.status or Status.FAILURE), str(error)) from None
    except ValueError as error:
        raise Failure(Status.USAGE, str(error)) from None


def serve_worker(worker: Worker) -> Server:
    """What each process of `bokbok serve --processes` does."""
    told = worker.arguments
    load_strategies(told["strategies"])
    fields = told["what"]
    what = What(**{**fields, "profile": read_profile(fields["profile"])})
    start_logging(what.verbose, told["quiet"], who=f"worker {worker.number}: ")
    keys = told["keys"]
    found = {user: [Key.from_hex(key) for key in each] for user, each in keys.items()} if keys is not None else None
    try:
        return what.serve(start_server, worker, found.get if found is not None else None)
    except BokbokError as error:
        raise _Told(str(error), failure(error).exit_code) from None


class _Told(click.ClickException):
    """What went wrong in a worker, for its supervisor to tell."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc, unused-ignore]  # as in `_exit`


def _shared_hellos(url: str, unreachable: str) -> Any:
    try:
        from ..hellos import RedisHellos
    except ModuleNotFoundError:
        raise click.UsageError(
            "--shared-hellos: the Python package 'redis' is not installed: pip install 'bokbok[redis]'"
        ) from None
    try:
        return RedisHellos(url, unreachable=unreachable)  # type: ignore[arg-type]
    except ValueError as error:
        raise click.UsageError(f"--shared-hellos: {error}") from None


def _conformance_service() -> Any:
    from ..service import handler  # imports asyncio too, which a handler of the user's own does not need

    return handler()


def _opened(connection: Connection) -> None:
    _log.info("opened: %r", connection)


def _closed(connection: Connection) -> None:
    _log.info("closed: %r: %s", connection, connection.close_reason)
