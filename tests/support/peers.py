"""Peers for tests, byte by byte: they do what no library would, and check what came without a library.

They follow docs/protocol.md, and do not use `bokbok.wire`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
from typing import Any

from nacl.secret import SecretBox

from bokbok.address import Address
from bokbok.keys import Key
from bokbok.wire import passphrase_to_key

KEY = passphrase_to_key("mypassphrase")
USERS = {"myuser": KEY, "another": passphrase_to_key("another passphrase")}
"""The user that the tests' secure servers know."""

SOON = 30.0
"""Seconds that a test waits for something that should happen at once: long enough for a machine under load."""


def framed(body: bytes) -> bytes:
    """A packet as it travels."""
    return struct.pack(">I", len(body)) + body


def hello(user: str | bytes, key: Key, session_key: bytes) -> bytes:
    """The two packets of a hello as they travel."""
    name = user if isinstance(user, bytes) else user.encode("utf-8", "surrogateescape")
    return framed(name) + framed(bytes(SecretBox(key.to_bytes()).encrypt(session_key)))


class RawPeer:
    """One end of a connection on a blocking socket. No wait is longer than `SOON`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SOON)
        self.sock = sock
        self.user: bytes | None = None
        self._box: SecretBox | None = None
        self._rest = b""

    @classmethod
    def connect(cls, address: Address) -> RawPeer:
        """Connect to a server, and send nothing."""
        family = socket.AF_UNIX if address[0] == "unix" else socket.AF_INET6 if ":" in address[1] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(SOON)
        # So that a peer that does not read soon holds up the sender, whatever this system's buffers are.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        try:
            sock.connect(address[1] if address[0] == "unix" else address[1:])
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def say_hello(self, user: str | bytes, key: Key) -> bytes:
        """As a client: say hello, and use boxes from then on. Returns what was sent."""
        session_key = os.urandom(32)
        data = hello(user, key, session_key)
        self.send(data)
        self.begin(session_key)
        return data

    def begin(self, session_key: bytes) -> None:
        """Use boxes from now on."""
        self._box = SecretBox(session_key)

    def take_hello(self, key: Key) -> None:
        """As a server: read a hello, and use boxes from then on."""
        self.user = self.receive()
        self.begin(SecretBox(key.to_bytes()).decrypt(self.receive()))

    def packet(self, body: bytes) -> bytes:
        """A message as it travels on this connection."""
        return framed(bytes(self._box.encrypt(body)) if self._box is not None else body)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def send_message(self, *bodies: bytes) -> None:
        """Send messages, at once."""
        self.send(b"".join(map(self.packet, bodies)))

    def send_what_fits(self, data: bytes) -> int:
        """Send until the other end takes no more, or has closed. Returns the number of bytes."""
        self.sock.setblocking(False)
        sent = 0
        try:
            while sent < len(data):
                sent += self.sock.send(data[sent:])
        except OSError:
            pass
        self.sock.settimeout(SOON)
        return sent

    def receive(self) -> bytes:
        """The body of the next packet, opened. Raises `EOFError` at the end."""
        body = self.receive_closed()
        return self._box.decrypt(body) if self._box is not None else body

    def receive_closed(self) -> bytes:
        """The next packet as it travelled, without its length."""
        return self._exactly(*struct.unpack(">I", self._exactly(4)))

    def _exactly(self, size: int) -> bytes:
        pieces, missing = [self._rest], size - len(self._rest)
        while missing > 0:
            data = self.sock.recv(1024 * 1024)
            if not data:
                raise EOFError(f"the end, {missing} bytes before it was expected")
            pieces.append(data)
            missing -= len(data)
        data = b"".join(pieces)
        self._rest = data[size:]
        return data[:size]

    def receive_some(self, size: int) -> int:
        """Read and drop some bytes. Returns how many."""
        return len(self.sock.recv(size))

    def receive_the_rest(self, size: int) -> bytes:
        """So many bytes, as they travelled."""
        return self._exactly(size)

    def ended_within(self, seconds: float) -> bool:
        """Whether the other end closes or resets within so many seconds. What it sends is ignored."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return bool(poll.poll(seconds * 1000))

    def read_to_end(self) -> bytes:
        """Everything up to an end of file. A reset raises `ConnectionResetError`."""
        pieces = [self._rest]
        while data := self.sock.recv(1024 * 1024):
            pieces.append(data)
        return b"".join(pieces)

    def silent(self) -> bool:
        """Whether there is nothing to be read now, not even an end."""
        return not self._rest and not select.select([self.sock], [], [], 0)[0]

    def readable_within(self, seconds: float) -> bool:
        """Whether something, or the end, can be read before so many seconds are over."""
        return bool(select.select([self.sock], [], [], seconds)[0])

    def finish(self) -> None:
        """Send no more, but go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """Vanish like a killed program whose host reports it: TCP sends a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class RawListener:
    """A listening socket, for peers that are servers."""

    def __init__(self, address: Address, backlog: int = 5) -> None:
        if address[0] == "unix":
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.bind(address[1])
            self.address: Address = address
        else:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.sock.bind(address[1:])
            self.address = ("tcp", *self.sock.getsockname())
        self.sock.listen(backlog)
        self.sock.settimeout(SOON)
        self._fillers: list[socket.socket] = []

    def accept(self) -> RawPeer:
        """The next connection."""
        return RawPeer(self.sock.accept()[0])

    def fill(self) -> None:
        """Connect until the backlog is full and no further connection gets through."""
        while True:
            sock = socket.socket(self.sock.family, socket.SOCK_STREAM)
            self._fillers.append(sock)
            sock.setblocking(False)
            status = sock.connect_ex(self.sock.getsockname())
            if status == errno.EAGAIN:  # a Unix socket says so
                return
            if status == errno.EINPROGRESS and not select.select([], [sock], [], 0.05)[1]:  # TCP does not answer
                return

    def close(self) -> None:
        """Close the socket, and those of `fill`."""
        for sock in (self.sock, *self._fillers):
            sock.close()


class Awaited:
    """A raw peer or listener for tests on an event loop: each method in a thread, so that the loop goes on."""

    def __init__(self, blocking: Any) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.blocking, name)
        if not callable(found):
            return found

        async def method(*args: Any) -> Any:
            result = await asyncio.to_thread(found, *args)
            return Awaited(result) if isinstance(result, RawPeer) else result

        return method
