"""A bokbok connection and server, on threads and blocking sockets, for the profile `inferred-1` only.

What it knows: the bytes of that one profile, and when a handler runs. It does not guard against replays, so it claims
the kinds `reference` and `profile`, but not `hardening`.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import sexpr
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sexpr import Symbol

MAX_PACKET = 16 * 1024 * 1024  # a length above it ends the connection
MAX_RUNNING, MAX_WAITING = 1024, 4096  # handlers of one connection, and requests that wait for one
MAX_REFUSALS = 32 * 1024 * 1024  # bytes of refusals that are not sent yet
LINGER_SECONDS = 2.0  # how long the end of a connection may take
HELLO_SECONDS = 10.0  # how long a client may take over its hello
NAME_LIMIT = 255  # bytes of a user name
BOXED_KEY = 72  # nonce (24), tag (16), session key (32)

Address = tuple[Any, ...]  # ("tcp", host or None, port) or ("unix", path)


class RemoteError(Exception):
    """The handler at the other end failed, or its answer cannot be read."""


class NetworkError(Exception):
    """The connection is over, or could not be made."""


class ProtocolError(Exception):
    """The other side broke the rules: the connection cannot go on."""


class Unreadable:
    """The body of a message that names its request, but whose datum cannot be read."""

    def __init__(self, why: str) -> None:
        self.why = why


def passphrase_to_key(passphrase: str) -> bytes:
    """The first 32 bytes of SHA-512 of the passphrase's bytes."""
    return hashlib.sha512(passphrase.encode("latin-1")).digest()[:32]


# ------------------------------------------------------------------------------------------- addresses


def parse_address(address: Any) -> Address:
    """Any of the four documented forms, as a tuple.

    Raises:
        ValueError: it is in none of these forms.
    """
    match address:
        case sexpr.Symbol():
            pass
        case str() if found := re.fullmatch(r"(?:\[([^\]/]*)\]|([^/]*)):(\d+)", address):
            return ("tcp", found[1] or found[2] or None, _port(int(found[3])))
        case str() if address:
            return ("unix", address)
        case [Symbol("tcp"), str() | False as host, int(port)] if not isinstance(port, bool):
            return ("tcp", host or None, _port(port))
        case [Symbol("unix"), str(path)] if path:
            return ("unix", path)
    raise ValueError(f"{sexpr.write(address)} is not an address")


def _port(port: int) -> int:
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is not a port")
    return port


def address_datum(address: Address) -> Any:
    """An address as the datum that the puppet protocol and `connection-addr` show."""
    if address[0] == "unix":
        return [Symbol("unix"), address[1]]
    return [Symbol("tcp"), address[1] if address[1] is not None else False, address[2]]


def _shown(name: tuple[Any, ...]) -> Address:
    host = str(name[0])
    return ("tcp", host.removeprefix("::ffff:") if "." in host else host, name[1])


# ------------------------------------------------------------------------------------------ connection


class Connection:
    """One connection, either side of it. `start` runs its reading thread.

    Args:
        sock: connected.
        user: the user's name, `None` on an insecure connection.
        address: of the other end.
        on_request: applied to the connection and the message, its value is the answer.
        on_close: applied to the connection, unless this side closed it itself.
        session_key: 32 bytes, `None` on an insecure connection.
    """

    def __init__(
        self,
        sock: socket.socket,
        user: str | None,
        address: Address,
        on_request: Callable[[Connection, Any], Any],
        on_close: Callable[[Connection], Any],
        session_key: bytes | None,
    ) -> None:
        self.user, self.address = user, address
        self.on_request, self.on_close = on_request, on_close
        self.sock = sock
        self.box = SecretBox(session_key) if session_key else None
        self.nonce_prefix, self.nonce_counter = os.urandom(16), 0
        self.lock = threading.Lock()  # for what follows, down to `server`
        self.waiting: dict[int, Waiter] = {}
        self.next_id = 0
        self.running = 0
        self.queue: collections.deque[tuple[int, Any]] = collections.deque()  # of requests
        self.refusals: collections.deque[str] = collections.deque()  # that wait to be sent
        self.unsent = 0  # bytes of them
        self.refusing = False
        self.idle = threading.Condition(self.lock)
        self.closed: str | None = None
        self.closed_here = False
        self.write_lock = threading.Lock()
        self.silent = False  # nothing more is written
        self.server: Server | None = None

    # -- what a program does

    def request(self, message: Any) -> Any:
        """Send a request and wait for its answer.

        Raises:
            RemoteError: the handler there failed.
            NetworkError: the connection ended first.
            sexpr.WriteError: the message has no external representation; nothing was sent.
        """
        text = sexpr.write(message)
        if len(text) > MAX_PACKET - 100:
            raise sexpr.WriteError(f"a message of {len(text)} bytes is over the limit of a packet")
        waiter = Waiter()
        with self.write_lock:  # so that ids go out in their order
            with self.lock:
                if self.closed is not None:
                    raise NetworkError(self.closed)
                number, self.next_id = self.next_id, self.next_id + 1
                self.waiting[number] = waiter
            self.send(f"(request {number} {text})")
        return waiter.result()

    def close(self) -> None:
        """Close the connection; its own close handler does not run."""
        with self.lock:
            self.closed_here = True
        self.take_queue()
        self.end("this side closed the connection")

    # -- packets

    def send(self, text: str) -> None:
        """Write one message. The caller holds `write_lock`. If the connection is lost, the reader notices."""
        if self.silent:
            return
        body = text.encode("latin-1")
        if self.box:
            body = self.seal(self.box, body)
        try:
            self.sock.sendall(struct.pack(">I", len(body)) + body)
        except OSError as error:
            self.end(f"writing failed: {error}")

    def seal(self, box: SecretBox, body: bytes) -> bytes:
        """A box: nonce, tag, ciphertext."""
        nonce = self.nonce_prefix + struct.pack(">Q", self.nonce_counter)
        self.nonce_counter += 1
        return bytes(box.encrypt(body, nonce))

    def start(self) -> None:
        """Start reading. From now on requests are served."""
        threading.Thread(target=self.read_all, daemon=True).start()

    def read_all(self) -> None:
        """Read packets until the end, then let running handlers finish and close."""
        reason = "the other end closed the connection"
        try:
            self.read_packets()
        except ProtocolError as error:
            reason = f"protocol error: {error}"
            self.take_queue()
            self.over(reason)
            self.fall_silent()
            drop_the_rest(self.sock)
        except OSError as error:
            reason = f"reading failed: {error}"
            self.end(reason)
        self.over(reason)
        self.wait_until_idle()
        self.end(reason)
        self.sock.close()
        if self.server:
            self.server.forget(self)

    def read_packets(self) -> None:
        """Read packets until the end of file."""
        while (packet := read_packet(self.sock, MAX_PACKET)) is not None:
            self.packet_came(packet)

    def packet_came(self, packet: bytes) -> None:
        """Act upon one packet."""
        if self.box:
            try:
                packet = self.box.decrypt(packet)
            except (CryptoError, ValueError):
                raise ProtocolError("a packet does not open under the session key") from None
        tag, number, body = parse_message(packet.decode("latin-1"))
        if tag == "request":
            self.request_came(number, body)
            return
        with self.lock:
            waiter = self.waiting.pop(number, None)
        if waiter is None:
            raise ProtocolError(f"an answer to request {number}, which was never asked or is answered")
        if isinstance(body, Unreadable):
            waiter.fail(RemoteError(f"the answer cannot be read: {body.why}"))
        elif tag == "error":
            waiter.fail(RemoteError(body))
        else:
            waiter.set(body)

    def request_came(self, number: int, body: Any) -> None:
        """Start the handler in a thread of its own, or let the request wait until a running one has finished."""
        if isinstance(body, Unreadable):
            self.refuse(number, f"the request cannot be read: {body.why}")
        elif self.server and self.server.stopping:
            self.refuse(number, "the server is stopping")
        else:
            with self.lock:
                start = self.running < MAX_RUNNING
                turned_away = not start and len(self.queue) >= MAX_WAITING
                if start:
                    self.running += 1
                elif not turned_away:
                    self.queue.append((number, body))
            if start:
                threading.Thread(target=self.run_handler, args=(number, body), daemon=True).start()
            elif turned_away:
                self.refuse(number, "too many requests")

    def refuse(self, number: int, why: str) -> None:
        """Answer a request without a handler. Reading does not wait until this is sent, so there is a limit.

        Raises:
            ProtocolError: too many such answers wait for the other end to read them.
        """
        text = f"(error {number} {sexpr.write(why)})"
        with self.lock:
            self.unsent += len(text)
            if self.unsent > MAX_REFUSALS:
                raise ProtocolError("too many refused requests, whose answers are not read")
            self.refusals.append(text)
            start, self.refusing = not self.refusing, True
        if start:
            threading.Thread(target=self.send_refusals, daemon=True).start()

    def send_refusals(self) -> None:
        """Send what `refuse` left, as fast as the other end reads."""
        while True:
            with self.lock:
                if not self.refusals:
                    self.refusing = False
                    self.idle.notify_all()
                    return
                text = self.refusals.popleft()
            with self.write_lock:
                self.send(text)
            with self.lock:
                self.unsent -= len(text)

    def wait_until_idle(self) -> None:
        """Wait until no handler runs, and all refusals are sent or lost."""
        with self.lock:
            while self.running or self.refusing:
                self.idle.wait()

    def run_handler(self, number: int, body: Any) -> None:
        """Apply the handler to a request, then to those that wait. Send what it returns, or why it failed."""
        try:
            while True:
                try:
                    self.answer(number, self.on_request(self, body))
                except sexpr.WriteError as error:
                    self.answer(number, f"the answer cannot be written: {error}", failed=True)
                except Exception as error:  # whatever a handler raises travels back
                    self.answer(number, str(error), failed=True)
                with self.lock:
                    if not self.queue:
                        return
                    number, body = self.queue.popleft()
        finally:
            with self.lock:
                self.running -= 1
                self.idle.notify_all()

    def take_queue(self) -> list[int]:
        """Forget the requests that wait for a handler. Returns their ids."""
        with self.lock:
            numbers = [number for number, _ in self.queue]
            self.queue.clear()
        return numbers

    def answer(self, number: int, value: Any, *, failed: bool = False) -> None:
        """Send one answer."""
        text = sexpr.write(value)
        if failed and len(text) > MAX_PACKET - 100:  # the error's text is sent as far as there is room
            text = sexpr.write(f"{value[: MAX_PACKET // 4 - 100]} ... (cut)")
        if len(text) > MAX_PACKET - 100:
            raise sexpr.WriteError(f"an answer of {len(text)} bytes is over the limit of a packet")
        with self.write_lock:
            self.send(f"({'error' if failed else 'response'} {number} {text})")

    # -- the end

    def over(self, reason: str) -> None:
        """Fail the requests that wait, and run the close handler unless this side asked for the end."""
        with self.lock:
            first, self.closed = self.closed is None, self.closed or reason
            waiting, self.waiting = self.waiting, {}
            tell = first and not self.closed_here
        for waiter in waiting.values():
            waiter.fail(NetworkError(reason))
        if tell:
            threading.Thread(target=self.on_close, args=(self,), daemon=True).start()

    def fall_silent(self) -> None:
        """Let current writing finish, if the other end reads it in time. Later messages are dropped."""
        self.silent = True
        if self.write_lock.acquire(timeout=LINGER_SECONDS):
            self.write_lock.release()

    def end(self, reason: str) -> None:
        """Shut down both directions. The reader wakes up and closes the socket."""
        self.over(reason)
        with contextlib.suppress(OSError):  # it has gone already, which is fine
            self.sock.shutdown(socket.SHUT_RDWR)


class Waiter:
    """Waits for one answer."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: Any = None
        self.error: Exception | None = None

    def set(self, value: Any) -> None:
        """The answer came."""
        self.value = value
        self.done.set()

    def fail(self, error: Exception) -> None:
        """The answer will not come."""
        self.error = error
        self.done.set()

    def result(self) -> Any:
        """Wait for the answer, or for its failure."""
        self.done.wait()
        if self.error:
            raise self.error
        return self.value


def read_packet(sock: socket.socket, limit: int) -> bytes | None:
    """One packet, or `None` at an end of file, even within a packet."""
    head = read_exactly(sock, 4)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    if length > limit:
        raise ProtocolError(f"a packet of {length} bytes, where {limit} are allowed")
    return read_exactly(sock, length)


def read_exactly(sock: socket.socket, count: int) -> bytes | None:
    """`count` bytes, or `None` at an end of file before the last."""
    data = bytearray()
    while len(data) < count:
        part = sock.recv(min(count - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


MALFORMED = re.compile(r"\s*\(\s*(request|response|error)\s+([0-9]+)(?=[\s()\[\]{}\"';#|]).*\)\s*\Z", re.S)


def parse_message(text: str) -> tuple[str, int, Any]:
    """Tag, id and body of a message.

    Raises:
        ProtocolError: it is not a message.
    """
    try:
        value, end = sexpr.read(text)
        while text.startswith("#;", end := sexpr.skip_blank(text, end)):
            _, end = sexpr.read(text, end + 2)  # a comment, if it is complete
        if end != len(text):
            raise ProtocolError("more bytes follow a message")
    except sexpr.ReadError as error:
        if (found := MALFORMED.match(text)) and int(found[2][:20]) < 1 << 62:
            return found[1], int(found[2]), Unreadable(str(error))
        raise ProtocolError(f"a packet is not a message: {error}") from None
    match value if isinstance(value, list) else None:  # (a vector would match a list's pattern)
        case [Symbol("request" | "response" as tag), int(number), body]:
            pass
        case [Symbol("error" as tag), int(number), str(body)] if not isinstance(body, Symbol | sexpr.Keyword):
            pass
        case _:
            raise ProtocolError("a packet is not a message")
    if isinstance(number, bool) or not 0 <= number < 1 << 62:
        raise ProtocolError("a message's id is not a fixnum from 0 upwards")
    return str(tag), number, body


def open_connection(
    address: Address,
    user: str | None,
    key: bytes | None,
    on_request: Callable[[Connection, Any], Any],
    on_close: Callable[[Connection], Any],
) -> Connection:
    """Connect, and say hello if there is a user.

    Raises:
        NetworkError: the connection could not be made.
        ValueError: the user's name is too long.
    """
    if user is not None and len(user) > NAME_LIMIT:
        raise ValueError(f"a user name of {len(user)} bytes, where {NAME_LIMIT} are allowed")
    try:
        if address[0] == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address[1].encode("latin-1"))
        else:
            sock = socket.create_connection((address[1] or "localhost", address[2]), timeout=20)
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, UnicodeError) as error:
        raise NetworkError(f"cannot connect: {error}") from None
    shown = address if address[0] == "unix" else _shown(sock.getpeername())
    session_key = os.urandom(32) if key else None
    connection = Connection(sock, user, shown, on_request, on_close, session_key)
    if user is not None and key and session_key:
        name = user.encode("latin-1")
        boxed = connection.seal(SecretBox(key), session_key)
        try:
            sock.sendall(struct.pack(">I", len(name)) + name + struct.pack(">I", len(boxed)) + boxed)
        except OSError as error:
            raise NetworkError(f"cannot say hello: {error}") from None
    connection.start()
    return connection


# ---------------------------------------------------------------------------------------------- server


class Server:
    """A listening socket, and the connections that it has accepted.

    Args:
        address: where to bind.
        backlog: of the listening socket.
        user_to_key: a user's key or `None`; itself `None` on an insecure server.
        on_open: applied to every connection once it is open, before its first request is served.
        on_request, on_close: as for `Connection`.

    Raises:
        NetworkError: the address cannot be bound.
    """

    def __init__(
        self,
        address: Address,
        backlog: int,
        user_to_key: Callable[[str], bytes | None] | None,
        on_open: Callable[[Connection], Any],
        on_request: Callable[[Connection, Any], Any],
        on_close: Callable[[Connection], Any],
    ) -> None:
        self.user_to_key = user_to_key
        self.on_open, self.on_request, self.on_close = on_open, on_request, on_close
        self.stopping = False
        self.lock = threading.Condition()
        self.connections: set[Connection] = set()
        self.pending: set[socket.socket] = set()  # accepted, their hello not yet read
        try:
            self.sock = bind(address)
            self.sock.listen(backlog)
        except (OSError, UnicodeError) as error:
            raise NetworkError(f"cannot listen: {error}") from None
        self.address = address if address[0] == "unix" else (*address[:2], self.sock.getsockname()[1])
        threading.Thread(target=self.accept_all, daemon=True).start()

    def accept_all(self) -> None:
        """Accept until the socket is shut down."""
        while True:
            try:
                sock, name = self.sock.accept()
            except OSError:
                return
            with self.lock:
                self.pending.add(sock)
            threading.Thread(target=self.welcome, args=(sock, name), daemon=True).start()

    def welcome(self, sock: socket.socket, name: Any) -> None:
        """Serve one connection: its hello, its open handler, then its requests."""
        try:
            user, session_key = None, None
            if self.user_to_key:
                try:
                    user, session_key = self.hello(sock, self.user_to_key)
                except (OSError, ProtocolError, CryptoError):
                    refuse(sock)
                    return
            tcp = self.address[0] == "tcp"
            if tcp:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            shown = _shown(name) if tcp else self.address
            connection = Connection(sock, user, shown, self.on_request, self.on_close, session_key)
            connection.server = self
            with self.lock:
                self.connections.add(connection)
            self.on_open(connection)
            connection.start()
            if self.stopping:
                self.finish(connection)
        finally:
            with self.lock:
                self.pending.discard(sock)
                self.lock.notify_all()

    def hello(self, sock: socket.socket, user_to_key: Callable[[str], bytes | None]) -> tuple[str, bytes]:
        """Read a hello. An unknown user and a wrong key are refused in the same way."""
        sock.settimeout(HELLO_SECONDS)
        name = read_packet(sock, NAME_LIMIT)
        boxed = read_packet(sock, BOXED_KEY)
        if name is None or boxed is None or len(boxed) != BOXED_KEY:
            raise ProtocolError("no hello")
        user = name.decode("latin-1")
        key = user_to_key(user)
        session_key = SecretBox(key or os.urandom(32)).decrypt(boxed)
        sock.settimeout(None)
        return user, session_key

    def forget(self, connection: Connection) -> None:
        """A connection is over."""
        with self.lock:
            self.connections.discard(connection)
            self.lock.notify_all()

    def finish(self, connection: Connection) -> None:
        """Close a connection once its running handlers have finished. Requests that wait for a handler are refused."""

        def run() -> None:
            for number in connection.take_queue():
                connection.answer(number, "the server is stopping", failed=True)
            connection.wait_until_idle()
            connection.close()

        threading.Thread(target=run, daemon=True).start()

    def stop(self) -> None:
        """Stop listening. Close every connection when its running handlers have finished."""
        with self.lock:
            if self.stopping:
                return
            self.stopping = True
        if self.address[0] == "unix":
            os.unlink(self.address[1].encode("latin-1"))
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        with self.lock:
            connections = list(self.connections)
            for sock in self.pending - {connection.sock for connection in connections}:
                with contextlib.suppress(OSError):  # it has just gone
                    sock.shutdown(socket.SHUT_RDWR)
            self.lock.notify_all()
        for connection in connections:
            self.finish(connection)

    def wait(self) -> None:
        """Wait until the server has stopped and its connections are over."""
        with self.lock:
            while not self.stopping or self.connections or self.pending:
                self.lock.wait()


def bind(address: Address) -> socket.socket:
    """A bound socket. No host means all addresses, IPv6 and IPv4."""
    if address[0] == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(address[1].encode("latin-1"))
        return sock
    host, port = address[1:]
    if host is None:
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except (OSError, ValueError):
            return socket.create_server(("0.0.0.0", port))
    family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(name, family=family)


def refuse(sock: socket.socket) -> None:
    """Close so that the client sees an end of file."""
    drop_the_rest(sock)
    sock.close()


def drop_the_rest(sock: socket.socket) -> None:
    """Shut down this direction and read what still comes: with unread bytes, the other end would see a reset."""
    until = time.monotonic() + LINGER_SECONDS
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(1 << 18):
                break
