"""A server on blocking sockets: one thread accepts; a connection has threads while it has work for them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from .. import wire
from .._fork import track
from .._front import texts
from .._front.heap import Heap
from .._front.logs import Log
from .._front.proxy import MOST_MEETING, Header, ProxyError
from .._front.server import ACCEPT_PAUSE, PublicServer, Roster, after_you
from .._front.settings import Settings, SharedHellos
from .._front.shared import Shared, Visit
from .._front.worker import Where, listener_of, supervised
from .._sockets import DEFAULT_BACKLOG, ENDLESS, LINGER_SECONDS, Listener, seconds, tcp_address, tune
from ..address import Address
from ..keys import Key
from .connection import Connection, ConnectionHandler, RequestHandler
from .handling import handler_of
from .poller import poller
from .threads import run_in_thread

__all__ = ["Server", "start_server"]

_log = Log("bokbok.sync")

_AT_ONCE = 64
"""Connections that are accepted from one socket before others are looked at."""


class Server(PublicServer):
    """A server that is running, or was. Made by `start_server`.

    As a context manager it stops itself at the end, and waits until it has.
    """

    def __init__(
        self,
        listener: Listener,
        settings: Settings,
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._roster = Roster[Connection](settings.limits.connections)
        self._shared = Shared(settings.limits, _log, settings.link)

        self._meeting: set[socket.socket] = set()  # proxies' connections that have not said yet whose they are
        self._roster.coming = self._meeting

        self._shared.budget.fell = Heap(
            lambda seconds, function: poller.call_at(time.monotonic() + seconds, function)
        ).fell

        # Taken last: a connection may hold its own lock when it asks for this one, never the other way round.
        self._changed = threading.Condition()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        track(self)

    def stop(self) -> None:
        """Ask the server to stop (API reference: `stop-server!`). A handler may call it.

        Returns once no new connection can be made. Connections close when their running handlers have finished; until
        then, new requests are answered with an error, and answers to requests of this end are still taken. Close
        handlers of this end do not run. After `Limits.drain_timeout` connections are closed all the same.
        Stopping twice does nothing.
        """
        self._shared.no_more()
        with self._changed:
            first = self._roster.stop()
            if first:
                self._accept_no_more()
                for sock in self._meeting:
                    with contextlib.suppress(OSError):  # gone already
                        sock.shutdown(socket.SHUT_RDWR)
            while self._roster.listening or self._meeting:
                self._changed.wait()
            connections = list(self._roster.connections) if first else []
        for connection in connections:
            connection._drain()
        if connections:
            try:
                run_in_thread(self._end_of_drain)
            except RuntimeError as error:  # no more threads
                _log.error("%r: cannot end connections in time: %s", self, error)

    def retire(self) -> None:
        """Listen no more, and go on serving the open connections: another server has taken over.

        Returns once no new connection can be made; connections that the system has accepted already are served. `wait`
        returns when the last connection is over. `stop` is still there for those that stay.
        """
        with self._changed:
            self._roster.retiring = True
            self._accept_no_more()
            while self._roster.listening:
                self._changed.wait()

    def _accept_no_more(self) -> None:
        """With the condition held."""
        self._changed.notify_all()  # the accepting thread may be waiting for room
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _end_of_drain(self) -> None:
        """In a thread of its own: close the connections that are left when the time for handlers is over."""
        seconds = self._settings.limits.drain_timeout
        with self._changed:
            if self._changed.wait_for(lambda: self._roster.stopped, min(seconds, ENDLESS)):
                return
            connections = list(self._roster.connections)
        for connection in connections:
            connection._end(texts.drained(seconds))
        with self._changed:
            self._changed.wait_for(lambda: self._roster.stopped, LINGER_SECONDS)
            self._roster.given_up = not self._roster.stopped
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has stopped (API reference: `wait-until-server-stopped`).

        That is: `stop` was called, every connection is closed, and no handler runs any more.

        Args:
            timeout: seconds; `None` waits for as long as it makes sense.

        Returns:
            Whether it has stopped. Without a time-out, false as soon as connections were closed after
            `Limits.drain_timeout` and handlers go on all the same, since a thread cannot be ended from outside:
            `unfinished` names them.

        Raises:
            RuntimeError: called from one of this server's own handlers, for which it would wait for ever.
        """
        limit = seconds(timeout)
        if handler_of.server is self:
            raise RuntimeError(texts.WAITS_FOR_ITSELF)
        with self._changed:
            self._changed.wait_for(lambda: self._roster.stopped or (limit is None and self._roster.given_up), limit)
            return self._roster.stopped

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.wait()

    # Accepting: one thread.

    def _accept(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake, selectors.EVENT_READ)
                for sock in self._listener.sockets:
                    selector.register(sock, selectors.EVENT_READ)
                while not self._roster.closing:
                    for key, _ in selector.select():
                        if key.fileobj is not self._wake:
                            self._accept_some(key.fileobj)  # type: ignore[arg-type]
        finally:
            self._close()

    def _close(self) -> None:
        """Listen no more, and tell those who wait for that."""
        self._listener.close()
        with self._changed:
            self._roster.listening = False
            self._changed.notify_all()
        self._wake.close()
        self._waker.close()

    def _accept_some(self, listening: socket.socket) -> None:
        """Accept those that are there: to ask the system before each of them would cost a wait for the interpreter."""
        # One, where other processes accept from the same socket: each is to have its share.
        for _ in range(_AT_ONCE if self._settings.link is None else 1):
            if self._roster.closing or not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """Whether there may be another one."""
        try:
            sock, place = listening.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True  # gone again before it was accepted
        except OSError as error:
            self._shared.cannot_accept(self, error)
            self._pause(ACCEPT_PAUSE)  # it passes
            return False
        address = tcp_address(*place[:2]) if self.address[0] == "tcp" else self.address
        if self._settings.proxies.trusts(address):
            self._meet(sock, address)
        else:
            self._arrived(sock, address)
        if self._shared.ahead:
            self._pause(after_you(self._shared.ahead))
        if self._roster.full:
            self._shared.full(self, len(self._roster.connections))
            with self._changed:
                self._changed.wait_for(lambda: not self._roster.full or self._roster.closing)
        return True

    def _meet(self, sock: socket.socket, proxy: Address) -> None:
        """Have a proxy say whose a connection is: that may take a while, and no other connection may wait for it."""
        with self._changed:
            if len(self._meeting) < MOST_MEETING:
                self._meeting.add(sock)
        try:
            if sock in self._meeting:
                run_in_thread(self._read_header, sock, proxy)
                return
            problem = f"{MOST_MEETING} others have not said whose they are"
        except RuntimeError as error:
            problem = str(error)
            self._met(sock)
        self._shared.bad_proxy(self, proxy, problem)
        sock.close()

    def _met(self, sock: socket.socket) -> None:
        with self._changed:
            self._meeting.discard(sock)
            self._changed.notify_all()

    def _read_header(self, sock: socket.socket, proxy: Address) -> None:
        """In a thread of its own."""
        deadline = time.monotonic() + min(self._settings.limits.hello_timeout, ENDLESS)
        header = Header()
        try:
            while header.missing:
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                header.take(sock.recv(header.missing))
            address = header.address() or proxy
        except (OSError, ProxyError) as error:
            self._shared.bad_proxy(self, proxy, error)
            sock.close()
        else:
            sock.settimeout(None)
            self._arrived(sock, address)
        finally:
            self._met(sock)

    def _arrived(self, sock: socket.socket, address: Address) -> None:
        visit = self._admitted(address)
        if visit is None:
            sock.close()
            return
        try:
            self._serve(sock, address, visit)
        except Exception as error:
            self._shared.failures.tell(_log, "", texts.NOT_SERVED, self, error=error)
            sock.close()
            visit.over()

    def _admitted(self, address: Address) -> Visit | None:
        hello = self._settings.user_to_key is not None
        if self._settings.link is None:
            return self._shared.arrive(address, self, hello=hello)
        arrival = self._shared.ask(address, hello=hello)
        if arrival is None:
            return None
        # As the accepting thread, or as one that has read a proxy's header. Where the whole server is full, this waits
        # for room, and further connections for this one.
        answered = threading.Event()
        arrival.answer.add_done_callback(lambda _: answered.set())
        answered.wait()
        return self._shared.arrived(arrival, self)

    def _pause(self, seconds: float) -> None:
        """Do not spin, but stop at once if asked to."""
        with self._changed:
            deadline = time.monotonic() + seconds
            while not self._roster.closing and (remaining := deadline - time.monotonic()) > 0:
                self._changed.wait(remaining)

    def _serve(self, sock: socket.socket, address: Address, visit: Visit) -> None:
        tune(sock)
        protocol = self._settings.server_protocol()
        connection = Connection(sock, protocol, address, self._settings, self, visit)
        with self._changed:
            self._roster.add(connection)
        if protocol.state == "open":
            connection._opened()
        connection._begin()

    def _forked(self) -> None:
        """See `_fork`."""
        self._changed = threading.Condition()
        self._roster.forked()
        self._shared.forked()
        for sock in (*self._listener.sockets, self._wake, self._waker):
            sock.close()  # the file of a Unix socket stays: it is the parent's

    def _finished(self, connection: Connection) -> None:
        """This connection is over, and so are its handlers."""
        if connection._life.visit is not None:
            connection._life.visit.over()
        with self._changed:
            self._roster.remove(connection)
            self._changed.notify_all()


def start_server(
    address: Where,
    on_request: RequestHandler | None = None,
    *,
    user_to_key: Callable[[str], Key | Sequence[Key] | None] | None = None,
    on_open: ConnectionHandler | None = None,
    on_close: ConnectionHandler | None = None,
    backlog: int = DEFAULT_BACKLOG,
    socket_mode: int | None = None,
    socket_owner: tuple[int, int] | None = None,
    proxies: Iterable[str] = (),
    profile: wire.ProfileLike = None,
    limits: wire.Limits = wire.DEFAULT_LIMITS,
    guards: wire.Guards = wire.DEFAULT_GUARDS,
    shared_hellos: SharedHellos | None = None,
) -> Server:
    """Start a server, in threads of its own (API reference: `start-server`).

    Args:
        address: `("tcp", host, port)`, host `None` for all addresses and port 0 for one that the system chooses;
            `("unix", path)`; or either as a string, `"host:port"`, `":port"`, `"path/to/socket"`. Where somebody else
            listens already: a `Worker` or a `Listener` of `bokbok.processes`.
        on_request: `on_request(connection, message) -> answer`, called in a thread of its own for each request; what
            it raises is sent back as the request's error.
        user_to_key: `user_to_key(user) -> Key | None`: the key of a user, `None` for one who is unknown or not
            allowed; or a list of keys, up to `Limits.keys_per_user`, of which a client has one, while a key is replaced
            by another. Without it, the server is insecure. The time that it takes may tell a stranger whether a user is
            known: that is up to its author.
        on_open: `on_open(connection)`, called in a thread when a connection is open (a secure one: once its client
            has proved to know the key). Requests wait until it returns; if it raises, the connection is closed.
        on_close: `on_close(connection)`, called in a thread when a connection ends that was open, unless this end
            closed it.
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
            `bokbok.hellos.RedisHellos`; without one, a hello can be replayed to each of them.

    Raises:
        ConnectFailed: it cannot listen there.
        AddressError: `address` is in none of the forms, or one of `proxies` is not an address or a network.
        ProfileError: the profile is unknown, or the guards refuse it.
        RuntimeError: the system has no more threads.
        ValueError: `limits` beside a `Worker`, which has its supervisor's.
    """
    link, limits = supervised(address, limits)
    settings = Settings.of_server(
        on_request, user_to_key, on_open, on_close, proxies, profile, limits, guards, shared_hellos, link
    )
    server = Server(listener_of(address, backlog, socket_mode, socket_owner), settings)
    try:
        run_in_thread(server._accept)
    except BaseException:  # no more threads
        server._close()
        raise
    return server
