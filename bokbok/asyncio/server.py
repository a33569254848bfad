"""A server on an asyncio event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar

from .. import wire
from .._fork import let_go, track
from .._front import texts
from .._front.heap import Heap
from .._front.logs import Log
from .._front.proxy import MOST_MEETING, Header, ProxyError
from .._front.server import ACCEPT_PAUSE, PublicServer, Roster, after_you
from .._front.settings import AsyncSharedHellos, Settings
from .._front.shared import Shared, Visit
from .._front.worker import Where, listener_of, supervised
from .._sockets import DEFAULT_BACKLOG, ENDLESS, LINGER_SECONDS, Listener, seconds, tcp_address
from ..address import Address
from .connection import Connection, ConnectionHandler, KeyLookup, RequestHandler
from .receiving import StreamProtocol
from .steps import FirstSteps

__all__ = ["Server", "start_server"]

_S = TypeVar("_S", bound="Server")

_log = Log("bokbok.asyncio")

_BURST = 64
"""Connections accepted in one turn of the event loop: more would hold up everybody who is connected already."""


class Server(PublicServer):
    """A server that is running, or was. Made by `start_server`.

    As an asynchronous context manager it stops itself at the end, and waits until it has.
    """

    def __init__(
        self,
        listener: Listener,
        settings: Settings,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._settings = settings
        self._roster = Roster[Connection](settings.limits.connections)
        self._shared = Shared(settings.limits, _log, settings.link)
        self._shared.budget.fell = Heap(self._loop.call_later).fell
        self._setting_up: set[asyncio.Task[Any]] = set()
        self._steps: FirstSteps | None = None  # of handlers; made when it is needed
        # Connections that are not served yet: a proxy has not said whose they are, or a supervisor was asked.
        self._meeting: set[asyncio.Task[Any]] = set()
        self._roster.coming = self._meeting
        self._accepting = False
        self._resume: asyncio.TimerHandle | None = None
        self._stopped = self._loop.create_future()
        self._given_up = self._loop.create_future()
        self._end_of_drain: asyncio.TimerHandle | None = None
        self._listen()
        track(self)

    def _forked(self) -> None:
        """See `_fork`. The listening sockets are closed here: only the parent decides how long the address is in
        use."""
        for connection in self._roster.connections:
            connection._forked()
        self._roster.forked()
        self._shared.forked()
        for sock in self._listener.sockets:
            if sock.fileno() >= 0:
                let_go(sock.fileno())

    async def stop(self) -> None:
        """Ask the server to stop (API reference: `stop-server!`). A handler may call it.

        Returns once no new connection can be made. Connections close when their running handlers have finished; until
        then, new requests are answered with an error, and answers to requests of this end are still taken. Close
        handlers of this end do not run. After `Limits.drain_timeout` connections are closed all the same.
        Stopping twice does nothing.
        """
        if not self._roster.stop():
            return
        self._shared.no_more()
        self._listen_no_more()
        for task in self._meeting:
            task.cancel()
        for connection in list(self._roster.connections):
            connection._drain()
        if self._roster.connections:
            self._end_of_drain = self._loop.call_later(
                min(self._settings.limits.drain_timeout, ENDLESS), self._stop_draining
            )
        self._maybe_stopped()

    async def retire(self) -> None:
        """Listen no more, and go on serving the open connections: another server has taken over.

        Connections that the system has accepted already are served. `wait` returns when the last connection is over.
        `stop` is still there for those that stay.
        """
        self._roster.retiring = True
        self._listen_no_more()
        self._maybe_stopped()

    def _listen_no_more(self) -> None:
        self._pause()
        self._listener.close()
        self._roster.listening = False

    def _stop_draining(self) -> None:
        """The time for handlers is over: close the connections that are left."""
        for connection in list(self._roster.connections):
            connection._end(texts.drained(self._settings.limits.drain_timeout))
        self._end_of_drain = self._loop.call_later(LINGER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if not self._stopped.done():
            self._roster.given_up = True
            self._given_up.set_result(None)

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has stopped (API reference: `wait-until-server-stopped`).

        That is: `stop` was called, every connection is closed, and no handler runs any more.

        Args:
            timeout: seconds; `None` waits for as long as it makes sense.

        Returns:
            Whether it has stopped. Without a time-out, false as soon as connections were closed after
            `Limits.drain_timeout` and handlers go on all the same: `unfinished` names them.

        Raises:
            RuntimeError: called from one of this server's own handlers, for which it would wait for ever.
        """
        limit = seconds(timeout)
        task = asyncio.current_task()
        if task is not None and self._steps is not None and task is self._steps.current:
            raise RuntimeError(texts.WAITS_FOR_ITSELF)
        if any(task in connection._handling.tasks for connection in self._roster.connections):
            raise RuntimeError(texts.WAITS_FOR_ITSELF)
        # Not `wait_for`, which would cancel what others wait for too.
        if limit is None:
            await asyncio.wait([self._stopped, self._given_up], return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.wait([self._stopped], timeout=max(0.0, limit))
        return self._stopped.done()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        await self.wait()

    # Accepting.

    def _listen(self) -> None:
        self._resume = None
        if not self._accepting and not self._roster.closing:
            self._accepting = True
            for sock in self._listener.sockets:
                self._loop.add_reader(sock, self._accept, sock)

    def _pause(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._accepting:
            self._accepting = False
            for sock in self._listener.sockets:
                self._loop.remove_reader(sock)

    def _accept(self, listening: socket.socket) -> None:
        # With other processes on the same socket, each takes one, and then it is another one's turn.
        for _ in range(_BURST if self._settings.link is None else 1):
            if self._roster.full:
                self._shared.full(self, len(self._roster.connections))
                self._pause()  # until a connection is over
                return
            try:
                sock, place = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._shared.cannot_accept(self, error)
                self._pause()
                self._resume = self._loop.call_later(ACCEPT_PAUSE, self._listen)
                return
            address = tcp_address(*place[:2]) if self.address[0] == "tcp" else self.address
            sock.setblocking(False)
            if self._settings.proxies.trusts(address):
                self._meet(sock, address)
            else:
                self._arrived(sock, address)

    def _meet(self, sock: socket.socket, proxy: Address) -> None:
        """Have a proxy say whose a connection is: that may take a while."""
        if len(self._meeting) >= MOST_MEETING:
            self._refuse_proxy(sock, proxy, f"{MOST_MEETING} others have not said whose they are")
            return
        self._keep_meeting(self._read_header(sock, proxy))

    def _keep_meeting(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._meeting.add(task)
        task.add_done_callback(self._met)

    def _met(self, task: asyncio.Task[Any]) -> None:
        self._meeting.discard(task)
        self._maybe_stopped()

    def _refuse_proxy(self, sock: socket.socket, proxy: Address, problem: object) -> None:
        self._shared.bad_proxy(self, proxy, problem)
        sock.close()

    async def _read_header(self, sock: socket.socket, proxy: Address) -> None:
        task = asyncio.current_task()
        assert task is not None
        limit = min(self._settings.limits.hello_timeout, ENDLESS)
        timer = self._loop.call_later(limit, self._stop_waiting, task, proxy)
        header = Header()
        try:
            while header.missing:
                header.take(await self._loop.sock_recv(sock, header.missing))
            address = header.address() or proxy
        except (OSError, ProxyError) as error:
            self._refuse_proxy(sock, proxy, error)
        except BaseException:  # cancelled: the server stops, or the time is over
            sock.close()
            raise
        else:
            self._arrived(sock, address)
        finally:
            timer.cancel()

    def _stop_waiting(self, task: asyncio.Task[Any], proxy: Address) -> None:
        task.cancel()
        self._shared.bad_proxy(self, proxy, "no header came")

    def _arrived(self, sock: socket.socket, address: Address) -> None:
        if self._settings.link is not None:
            # One at a time, unless a proxy is in front: where the whole server is full, this one waits for room, and
            # further ones for this one.
            self._pause()
            self._keep_meeting(self._ask(sock, address))
            return
        visit = self._shared.arrive(address, self, hello=self._settings.user_to_key is not None)
        if visit is None:
            sock.close()
        else:
            self._serve(sock, address, visit)

    async def _ask(self, sock: socket.socket, address: Address) -> None:
        arrival = self._shared.ask(address, hello=self._settings.user_to_key is not None)
        visit: Visit | None = None
        try:
            if arrival is not None:
                answer = asyncio.wrap_future(arrival.answer)
                await asyncio.wait([answer])
                if not answer.cancelled():
                    answer.exception()  # has been seen
        finally:
            if arrival is not None:
                arrival.answer.cancel()  # this task was
                visit = self._shared.arrived(arrival, self)
            if visit is not None and not self._roster.stopping:
                self._serve(sock, address, visit)
            else:
                sock.close()
                if visit is not None:
                    visit.over()
            if self._resume is None:
                self._resume = self._loop.call_later(after_you(self._shared.ahead), self._listen)

    def _serve(self, sock: socket.socket, address: Address, visit: Visit) -> None:
        connection = self._connection(visit)
        self._roster.add(connection)
        task = self._loop.create_task(self._set_up(connection, sock, address))
        self._setting_up.add(task)
        task.add_done_callback(self._setting_up.discard)

    def _connection(self, visit: Visit) -> Connection:
        """What serves a connection that was accepted; a bridge has its own."""
        return Connection(self._settings.server_protocol(), self._settings, self, visit)

    async def _set_up(self, connection: Connection, sock: socket.socket, address: Address) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: StreamProtocol(connection, address, known=True), sock)
        except BaseException as error:
            sock.close()
            self._finished(connection)
            if not isinstance(error, Exception):
                raise
            self._shared.failures.tell(_log, "", texts.NOT_SERVED, self, error=error)

    def _finished(self, connection: Connection) -> None:
        """This connection is over, and so are its handlers."""
        self._roster.remove(connection)
        if connection._life.visit is not None:
            connection._life.visit.over()
        if not self._roster.stopping and self._resume is None and (self._settings.link is None or not self._meeting):
            self._listen()
        self._maybe_stopped()

    def _maybe_stopped(self) -> None:
        if self._roster.stopped and not self._stopped.done():
            self._stopped.set_result(None)
            if self._end_of_drain is not None:
                self._end_of_drain.cancel()


class Starting(Generic[_S]):
    """What `start_server` returns: to be awaited, or entered with `async with`."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, _S]]) -> None:
        self._start = start
        self._server: _S | None = None

    def __await__(self) -> Generator[Any, None, _S]:
        return self._start().__await__()

    async def __aenter__(self) -> _S:
        self._server = await self
        return self._server

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        await self._server.__aexit__(*error)


def start_server(
    address: Where,
    on_request: RequestHandler | None = None,
    *,
    user_to_key: KeyLookup | None = None,
    on_open: ConnectionHandler | None = None,
    on_close: ConnectionHandler | None = None,
    backlog: int = DEFAULT_BACKLOG,
    socket_mode: int | None = None,
    socket_owner: tuple[int, int] | None = None,
    proxies: Iterable[str] = (),
    profile: wire.ProfileLike = None,
    limits: wire.Limits = wire.DEFAULT_LIMITS,
    guards: wire.Guards = wire.DEFAULT_GUARDS,
    shared_hellos: AsyncSharedHellos | None = None,
) -> Starting[Server]:
    """Start a server on this event loop (API reference: `start-server`): `await` it, or enter it with `async with`.

    Args:
        address: `("tcp", host, port)`, host `None` for all addresses and port 0 for one that the system chooses;
            `("unix", path)`; or either as a string, `"host:port"`, `":port"`, `"path/to/socket"`. Where somebody else
            listens already: a `Worker` or a `Listener` of `bokbok.processes`.
        on_request: `on_request(connection, message) -> answer`, for each request: a coroutine function, or a plain
            one, which holds up the event loop. What it raises is sent back as the request's error.
        user_to_key: `user_to_key(user) -> Key | None`, a coroutine function or a plain one: the key of a user, `None`
            for one who is unknown or not allowed; or a list of keys, up to `Limits.keys_per_user`, of which a client
            has one, while a key is replaced by another. Without it, the server is insecure. The time that it takes may
            tell a stranger whether a user is known: that is up to its author.
        on_open: `on_open(connection)`, when a connection is open (a secure one: once its client has proved to know
            the key). Requests wait until it returns; if it raises, the connection is closed.
        on_close: `on_close(connection)`, when a connection ends that was open, unless this end closed it.
        backlog: connections that the system holds until they are accepted.
        socket_mode: the mode of a Unix socket's file, such as `0o660`: who may write to it may connect. `None` leaves
            it to the process's umask.
        socket_owner: the numbers of the user and the group that it belongs to, -1 for one that is to stay as it is.
        proxies: addresses and networks, such as `"10.0.0.0/8"`, and `"unix"`, whose connections begin with the PROXY
            protocol's header (version 2): then `connection.address` and the limits per source are about the client
            that it names. Connections from elsewhere begin as ever.
        profile: the wire format, or its name; the default is `inferred-1`.
        limits: what the other ends may ask of this one at most.
        guards: what is refused although it is well formed.
        shared_hellos: a memory of hellos that other servers with the same keys share, such as
            `bokbok.hellos.AsyncRedisHellos`; without one, a hello can be replayed to each of them.

    Raises:
        ConnectFailed: it cannot listen there.
        AddressError: `address` is in none of the forms, or one of `proxies` is not an address or a network.
        ProfileError: the profile is unknown, or the guards refuse it.
        ValueError: `limits` beside a `Worker`, which has its supervisor's.
    """

    async def start() -> Server:
        link, its_limits = supervised(address, limits)
        settings = Settings.of_server(
            on_request, user_to_key, on_open, on_close, proxies, profile, its_limits, guards, shared_hellos, link
        )
        # Resolving the name of the host to listen on may block. It happens once, before any connection.
        return Server(listener_of(address, backlog, socket_mode, socket_owner), settings)

    return Starting(start)
