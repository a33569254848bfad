"""Peers that are broken in one known way each, to show that the suite notices.

Each mutant is the example implementation (`interop/examples/minimal`) with one thing changed, as the command
`python mutants.py NAME`. The decorator says which cases must catch it, in which role it is played, and over which
transport and in which security mode; `test_mutants.py` plays them, and sees that the example itself passes all of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "interop" / "examples" / "minimal"))

import peer as P
import puppet as U
import sexpr as S
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from sexpr import Symbol

C = P.Connection


@dataclass(frozen=True)
class Mutant:
    """One broken peer.

    Attributes:
        name: of the mutant.
        title: what is wrong with it.
        cases: ids of cases that must fail with it, each of them.
        role: what it plays: `client` or `server`; the other is the example, or the runner.
        security, transport: where it is played.
        break_it: changes the modules.
    """

    name: str
    title: str
    cases: tuple[str, ...]
    role: str
    security: str
    transport: str
    break_it: Callable[[], None]


MUTANTS: dict[str, Mutant] = {}


def mutant(*cases: str, role: str = "server", security: str = "secure", transport: str = "unix") -> Any:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        name = function.__name__.replace("_", "-")
        assert name not in MUTANTS, name
        title = (function.__doc__ or "").strip().rstrip(".")
        MUTANTS[name] = Mutant(name, title, cases, role, security, transport, function)
        return function

    return register


def around(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace a function by what `wrap` makes of it."""
    setattr(owner, name, wrap(getattr(owner, name)))


def claim(feature: str) -> None:
    U.FEATURES.append(Symbol(feature))


# ------------------------------------------------------------------------------------------------------ secure


def _open_unchecked(box: SecretBox, packet: bytes) -> bytes:
    """What is in a box, whatever its tag says: the key stream is the box of zeros."""
    if len(packet) < 40:
        raise CryptoError
    nonce, text = packet[:24], packet[40:]
    stream = bytes(box.encrypt(bytes(len(text)), nonce))[40:]
    return bytes(a ^ b for a, b in zip(text, stream, strict=True))


@mutant("hostile.tampered", "hostile.other-key")
def skips_the_tag() -> None:
    """Opens every box, without looking at its tag."""
    real = SecretBox.decrypt

    def decrypt(self: SecretBox, packet: bytes) -> bytes:
        try:
            return real(self, packet)
        except (CryptoError, ValueError):
            body = _open_unchecked(self, packet)
            # A request of this shape is what the attacker can hope for: he flips bits of one he knows.
            return body if body.startswith(b"(") else b'(request 7 ("count" "x"))'

    P.SecretBox = type("Unchecked", (SecretBox,), {"decrypt": decrypt})  # type: ignore[misc]


@mutant("hostile.hello-tampered", "secure.wrong-key", "secure.unknown-user", "secure.other-users-key")
def skips_the_hello_tag() -> None:
    """Takes any session key's box for a good one."""

    def hello(self: Any, sock: Any, user_to_key: Any) -> tuple[str, bytes]:
        sock.settimeout(10)
        name, boxed = P.read_packet(sock, 255), P.read_packet(sock, 72)
        if name is None or boxed is None or len(boxed) != 72:
            raise P.ProtocolError("no hello")
        user = name.decode("latin-1")
        key = user_to_key(user) or bytes(32)
        sock.settimeout(None)
        return user, _open_unchecked(SecretBox(key), boxed)

    P.Server.hello = hello


def _lookup(change: Callable[[Any, str], Any]) -> None:
    """Change how a server's `user->key` is asked: `change(get, user)`."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        return real(self, sock, lambda user: change(user_to_key, user))

    P.Server.hello = hello


@mutant("secure.unknown-user", "secure.denied-user")
def accepts_any_user() -> None:
    """Takes the key of a known user where the user is unknown or denied."""
    _lookup(lambda get, user: get(user) or get("alice"))


@mutant("secure.two-users", "secure.other-users-key", "hostile.hello-for-other-user")
def one_key_for_all() -> None:
    """Uses one user's key for everybody."""
    _lookup(lambda get, user: get(user) and get("alice"))


@mutant("secure.user-names-are-exact")
def folds_user_names() -> None:
    """Trims usernames and folds their case before the lookup."""
    _lookup(lambda get, user: get(user.strip(" \0").lower()))


@mutant("secure.user-names-are-exact")
def cuts_user_names_at_nul() -> None:
    """Ends usernames at a NUL, as C does."""
    _lookup(lambda get, user: get(user.split("\0")[0]))


@mutant("secure.almost-right-key", role="both")
def folds_passphrases() -> None:
    """Trims passphrases and folds their case."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text.strip().lower()))


@mutant("secure.any-passphrase", role="server")
def shortens_passphrases() -> None:
    """Looks at the first 64 characters of a passphrase alone."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text[:64]))


@mutant("secure.any-passphrase")
def refuses_empty_passphrases() -> None:
    """Has no key for an empty passphrase."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text) if text else None)


@mutant("secure.key-derivation", "secure.right-key")
def other_key_derivation() -> None:
    """Makes keys by SHA-256."""
    import hashlib

    U.passphrase_to_key = lambda text: hashlib.sha256(text.encode("latin-1")).digest()


@mutant("secure.fresh-session-keys", role="client")
def constant_session_key() -> None:
    """Uses the same session key for every connection."""
    around(P, "Connection", lambda real: lambda s, u, a, r, c, key: real(s, u, a, r, c, key and b"k" * 32))
    real_open = P.open_connection

    def opening(*arguments: Any) -> Any:
        urandom, os.urandom = os.urandom, lambda n: b"k" * 32 if n == 32 else urandom(n)
        try:
            return real_open(*arguments)
        finally:
            os.urandom = urandom

    U.open_connection = opening


@mutant("secure.nonces", "secure.fresh-session-keys", role="client")
def everything_constant() -> None:
    """Has no randomness at all: the same session key, the same nonces."""
    os.urandom = lambda n: b"r" * n


@mutant("secure.random-after-restart", role="client")
def unseeded_random_source() -> None:
    """Takes its random bytes from a source that begins the same at every start."""
    import random

    source = random.Random(1)
    os.urandom = source.randbytes


@mutant("secure.nonces", role="client")
def constant_nonce() -> None:
    """Never counts its nonces up."""

    def nonce_constant(self: Any, box: SecretBox, body: bytes) -> bytes:
        return bytes(box.encrypt(body, self.nonce_prefix + bytes(8)))

    C.seal = nonce_constant


@mutant("secure.nonces", role="server")
def nonces_of_the_process() -> None:
    """Draws the random half of its nonces once per program, not per connection."""
    prefix = os.urandom(16)
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_prefix", prefix))[0])


@mutant("secure.user-on-both-sides", role="client")
def client_forgets_its_user() -> None:
    """A client's connection has no user."""
    around(
        U.Puppet,
        "do_connect",
        lambda real: lambda self, h, *a: _then(real(self, h, *a), lambda: setattr(self.handles[h], "user", None)),
    )


def _then(value: Any, do: Callable[[], Any]) -> Any:
    do()
    return value


@mutant("secure.two-users", "secure.user-on-both-sides", role="server")
def shows_the_first_user() -> None:
    """All of a server's connections show one user."""
    around(P.Server, "hello", lambda real: lambda self, *a: ("alice-or-so", real(self, *a)[1]))


@mutant("secure.insecure-has-no-user", security="insecure")
def empty_user_when_insecure() -> None:
    """An insecure connection's user is the empty string."""
    around(C, "__init__", lambda real: lambda self, s, u, *a: real(self, s, "" if u is None else u, *a))


@mutant("secure.nothing-readable", "secure.encrypted-both-ways", role="client")
def errors_in_the_clear() -> None:
    """Repeats what its own handler failed with in front of the box, in the clear."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            with self.write_lock:
                body = S.write(value).encode("latin-1")
                self.sock.sendall(struct.pack(">I", len(body)) + body)
            real(self, number, value, failed=failed)

        return run

    around(C, "answer", answer)


@mutant("secure.insecure-server", "secure.insecure-has-no-user", security="insecure")
def takes_no_server_for_insecure() -> None:
    """Takes a server without user->key for one that knows no user."""

    def listen(real: Any) -> Any:
        return lambda self, handle, address, backlog, users: real(self, handle, address, backlog, users or [])

    around(U.Puppet, "do_listen", listen)


@mutant("hostile.plain-after-hello")
def takes_plain_packets() -> None:
    """Takes a packet that does not open for one in the clear."""

    class Lenient(SecretBox):
        def decrypt(self, packet: bytes, *a: Any) -> bytes:  # type: ignore[override]
            try:
                return super().decrypt(packet, *a)
            except (CryptoError, ValueError):
                return packet

    real = C.__init__

    def init(self: Any, *a: Any) -> None:
        real(self, *a)
        if self.box:
            self.box = Lenient(bytes(self.box))

    C.__init__ = init


@mutant("secure.insecure-client-at-secure-server", "hostile.insecure-request-at-secure-server")
def serves_insecure_clients() -> None:
    """Serves a client that says no hello as an insecure one."""
    real = P.Server.welcome

    def welcome(self: Any, sock: Any, name: Any) -> None:
        head = b""
        while len(head) < 5:
            head = sock.recv(5, socket.MSG_PEEK)
            if not head:
                break
        if head[4:5] == b"(":
            keys, self.user_to_key = self.user_to_key, None
            try:
                real(self, sock, name)
            finally:
                self.user_to_key = keys
        else:
            real(self, sock, name)

    P.Server.welcome = welcome


@mutant("secure.secure-client-at-insecure-server", "hostile.secure-hello-at-insecure-server", security="insecure")
def ignores_hellos() -> None:
    """An insecure server ignores packets that make no sense to it."""
    _ignore_protocol_errors()


def _ignore_protocol_errors() -> None:
    def packet_came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            with contextlib.suppress(P.ProtocolError):
                real(self, packet)

        return run

    around(C, "packet_came", packet_came)


@mutant("secure.wrong-key", "secure.goes-on-after-refusals", "hostile.hello-cut-after-name")
def opens_before_the_hello() -> None:
    """Runs the open handler when a connection is accepted, before its hello."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        ghost = C(sock, "alice", self.address, self.on_request, self.on_close, None)
        self.on_open(ghost)
        return real(self, sock, user_to_key)

    P.Server.hello = hello


@mutant("secure.server-says-nothing")
def greets() -> None:
    """Answers the hello with a packet."""
    around(
        P.Server,
        "hello",
        lambda real: lambda self, sock, get: _then(real(self, sock, get), lambda: sock.sendall(b"\0\0\0\2ok")),
    )


@mutant("secure.unknown-user-looks-like-wrong-key")
def tells_unknown_users() -> None:
    """Tells an unknown user so, where a wrong key is only closed."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        def look_up(user: str) -> Any:
            key = user_to_key(user)
            if key is None:
                sock.sendall(b"\0\0\0\x0cunknown user")
            return key

        return real(self, sock, look_up)

    P.Server.hello = hello


@mutant("secure.unknown-user-looks-like-wrong-key", transport="tcp")
def resets_wrong_keys() -> None:
    """Resets the connection of a client with a wrong key."""

    def refuse(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    P.refuse = refuse


@mutant("secure.any-user-name")
def user_names_as_utf8() -> None:
    """Takes usernames for UTF-8, and replaces what is none."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        found: list[str] = []

        def look_up(user: str) -> Any:
            found.append(user.encode("latin-1").decode("utf-8", "replace").encode("utf-8").decode("latin-1"))
            return user_to_key(user)

        _, session = real(self, sock, look_up)
        return found[0], session

    P.Server.hello = hello


@mutant("secure.user-name-too-long", role="client")
def cuts_long_user_names() -> None:
    """Cuts a username of more than 255 bytes without a word."""
    around(U, "open_connection", lambda real: lambda a, user, *rest: real(a, user and user[:255], *rest))


@mutant("secure.refused-hello-closes-client", role="client")
def no_close_handler_before_first_answer() -> None:
    """Runs a client's close handler only if something ever came from the server."""
    real_came, real_over = C.packet_came, C.over

    def came(self: Any, packet: bytes) -> None:
        self.heard = True
        real_came(self, packet)

    def over(self: Any, reason: str) -> None:
        if not hasattr(self, "heard") and self.server is None:
            self.closed_here = True
        real_over(self, reason)

    C.packet_came, C.over = came, over


@mutant("secure.goes-on-after-refusals", "hostile.hello-tampered")
def stops_after_a_refusal() -> None:
    """A refused hello ends the server's accepting."""
    server: list[Any] = []
    around(P.Server, "welcome", lambda real: lambda self, *a: (server.append(self), real(self, *a))[1])
    around(P, "refuse", lambda real: lambda sock: (server[-1].sock.shutdown(socket.SHUT_RDWR), real(sock))[1])


@mutant("secure.hello-bytes", "secure.right-key", role="client")
def ends_user_names_with_nul() -> None:
    """Sends usernames with a NUL behind them."""
    around(U, "open_connection", lambda real: lambda a, user, *rest: real(a, user and user + "\0", *rest))


@mutant("secure.same-key-two-users")
def user_by_key() -> None:
    """Finds the user by the key, so that two with one key are the same."""
    seen: dict[bytes, str] = {}

    def hello(real: Any) -> Any:
        def run(self: Any, sock: Any, get: Any) -> Any:
            used: list[bytes] = []

            def look_up(user: str) -> Any:
                key = get(user)
                if key:
                    used.append(key)
                    seen.setdefault(key, user)
                return key

            user, session = real(self, sock, look_up)
            return seen.get(used[0], user), session

        return run

    around(P.Server, "hello", hello)


@mutant("secure.clear-when-insecure", role="client", security="insecure")
def scrambles_insecure_connections() -> None:
    """Sends something else than the plain words on an insecure connection."""
    real_send, real_came = C.send, C.packet_came

    def send(self: Any, text: str) -> None:
        real_send(self, text.replace("MARKER-", "\\x4dARKER-"))

    C.send, C.packet_came = send, real_came


@mutant("secure.nobody-may")
def no_users_is_insecure() -> None:
    """Takes a server whose user->key knows nobody for an insecure one."""

    def listen(real: Any) -> Any:
        return lambda self, handle, address, backlog, users: real(self, handle, address, backlog, users or False)

    around(U.Puppet, "do_listen", listen)


@mutant("secure.denied-user")
def denied_means_no_passphrase() -> None:
    """Takes a user who may not connect for one with an empty passphrase."""

    def listen(real: Any) -> Any:
        def run(self: Any, handle: int, address: Any, backlog: int, users: Any) -> Any:
            opened = [S.Dotted(user.items, user.tail or "") for user in users or []]
            return real(self, handle, address, backlog, users and opened)

        return run

    around(U.Puppet, "do_listen", listen)


def _nonces(bytes_of: Callable[[int], bytes]) -> None:
    def seal(self: Any, box: SecretBox, body: bytes) -> bytes:
        nonce = self.nonce_prefix + bytes_of(self.nonce_counter)
        self.nonce_counter += 1
        return bytes(box.encrypt(body, nonce))

    C.seal = seal


@mutant("secure.nonces-of-many", role="both")
def counts_nonces_in_one_byte() -> None:
    """Begins its nonces anew after 256 boxes."""
    _nonces(lambda count: struct.pack(">Q", count & 0xFF))


@mutant("secure.nonces-of-many", role="server")
def counts_nonces_without_a_lock() -> None:
    """Counts its nonces up beside its writing, so that two threads may take the same."""

    def seal(self: Any, box: SecretBox, body: bytes) -> bytes:
        count = self.nonce_counter
        time.sleep(0.0005)
        self.nonce_counter = count + 1
        return bytes(box.encrypt(body, self.nonce_prefix + struct.pack(">Q", count)))

    def answer(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
        body = f"({'error' if failed else 'response'} {number} {S.write(value)})".encode("latin-1")
        body = self.seal(self.box, body) if self.box else body
        with self.write_lock:
            self.sock.sendall(struct.pack(">I", len(body)) + body)

    C.seal, C.answer = seal, answer


@mutant("secure.nonces")
def counts_nonces_little_endian() -> None:
    """Counts its nonces in little-endian bytes."""
    _nonces(lambda count: struct.pack("<Q", count))


@mutant("secure.nonces")
def takes_the_clients_nonces() -> None:
    """A server that takes the random half of its nonces from the client's: both use the same ones."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self.server and self.nonce_counter == 0:
                self.nonce_prefix = packet[:16]
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("secure.random-in-every-byte", role="client")
def session_keys_of_16_bytes() -> None:
    """Draws 16 random bytes for a session key, and fills it up with zeros."""
    urandom = os.urandom
    os.urandom = lambda n: urandom(n) if n != 32 else urandom(16) + bytes(16)


@mutant("secure.random-in-every-byte", role="server")
def nonces_of_8_random_bytes() -> None:
    """Draws 8 random bytes for its nonces, and says in the others who it is."""
    around(
        C,
        "__init__",
        lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_prefix", os.urandom(8) + b"server--"))[0],
    )


@mutant("secure.refused-at-the-second-packet")
def refuses_unknown_users_at_once() -> None:
    """Closes as soon as an unknown user's name is there, without waiting for the session key."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        head = b""
        while len(head) < 4 or len(head) < 4 + int.from_bytes(head[:4], "big"):
            head = sock.recv(300, socket.MSG_PEEK)
            if not head:
                raise P.ProtocolError("no hello")
        if user_to_key(head[4 : 4 + int.from_bytes(head[:4], "big")].decode("latin-1")) is None:
            raise P.ProtocolError("an unknown user")
        return real(self, sock, user_to_key)

    P.Server.hello = hello


@mutant("secure.refusal-is-no-reset", transport="tcp")
def just_closes_refused_connections() -> None:
    """Closes a refused connection with bytes still unread, which makes a reset of it."""
    P.refuse = lambda sock: sock.close()


# ------------------------------------------------------------------------------------------------------ errors


def _on_failure(act: Callable[[Any, Any, int, Any], None]) -> None:
    """Change what happens when a handler failed: `act(real answer, connection, number, text)`."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            if failed:
                act(real, self, number, value)
            else:
                real(self, number, value)

        return run

    around(C, "answer", answer)


@mutant("errors.remote-error", "errors.unknown-request", "errors.nested-error", "symmetry.errors-both-ways")
def errors_as_responses() -> None:
    """Answers a failed request with its message as if it were the value."""
    _on_failure(lambda real, self, number, text: real(self, number, text))


@mutant("errors.remote-message", "errors.message-text", "errors.each-its-own", "errors.error-answer-frees-nothing-else")
def loses_messages() -> None:
    """Says that something went wrong, and not what."""
    _on_failure(lambda real, self, number, text: real(self, number, "an error occurred", failed=True))


@mutant("errors.connection-survives", "errors.while-others-wait", "errors.remote-error")
def closes_on_errors() -> None:
    """Closes the connection when a handler fails."""
    _on_failure(lambda real, self, number, text: self.close())


@mutant("errors.remote-error", "errors.unwritable-answer")
def swallows_errors() -> None:
    """Does not answer a request whose handler failed."""
    _on_failure(lambda real, self, number, text: None)


@mutant("errors.while-others-wait", "errors.error-answer-frees-nothing-else", role="client")
def errors_fail_all_that_wait() -> None:
    """One remote error fails every request that waits."""
    real = P.Waiter.fail

    def came(real_came: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            before = dict(self.waiting)
            real_came(self, packet)
            if any(w.error for w in before.values()):
                for waiter in before.values():
                    real(waiter, P.RemoteError("another request failed"))

        return run

    around(C, "packet_came", came)


@mutant("errors.each-its-own", "errors.while-others-wait", role="client")
def errors_to_the_oldest() -> None:
    """Gives an error to the request that has waited longest."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            tag, number, body = real(text)
            if tag == "error":
                waiting = [n for c in list(U_CONNECTIONS) for n in c.waiting]
                number = min([*waiting, number])
            return tag, number, body

        return run

    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), U_CONNECTIONS.append(self))[0])
    around(P, "parse_message", parse)


U_CONNECTIONS: list[Any] = []


@mutant("errors.non-condition")
def hides_raised_objects() -> None:
    """Says "uncaught exception" of an object that is no condition, and not which."""
    _on_failure(
        lambda real, self, n, text: real(
            self, n, "uncaught exception" if text.startswith("uncaught:") else text, failed=True
        )
    )


@mutant("errors.message-text")
def messages_of_one_line() -> None:
    """Cuts messages at the first line feed."""
    _on_failure(lambda real, self, number, text: real(self, number, text.split("\n")[0], failed=True))


@mutant("errors.message-text")
def short_messages() -> None:
    """Cuts messages at 255 characters."""
    _on_failure(lambda real, self, number, text: real(self, number, text[:255], failed=True))


@mutant("errors.message-text")
def messages_in_ascii() -> None:
    """Replaces in messages what is not ASCII."""
    _on_failure(
        lambda real, self, n, text: real(
            self, n, text.encode("ascii", "replace").decode() if text else text, failed=True
        )
    )


@mutant("errors.empty-message")
def no_answer_without_message() -> None:
    """Answers a failure that has no message with a plain #f."""
    _on_failure(lambda real, self, n, text: real(self, n, text, failed=True) if text else real(self, n, False))


@mutant("errors.unknown-request")
def unknown_requests_are_false() -> None:
    """Answers what it does not know with #f."""

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            try:
                return real(self, connection, message)
            except RuntimeError as error:
                if str(error).startswith("unknown"):
                    return False
                raise

        return run

    around(U.Service, "__call__", call)


@mutant("errors.unwritable-is-named")
def writes_procedures() -> None:
    """Writes a procedure as #<procedure>, which nobody can read."""

    def atom(real: Any) -> Any:
        return lambda value: "#<procedure>" if callable(value) and not isinstance(value, type) else real(value)

    around(S, "_write_atom", atom)


@mutant("errors.unwritable-answer")
def unwritable_closes() -> None:
    """Closes the connection when an answer cannot be written."""
    _on_failure(
        lambda real, self, n, text: self.close() if "cannot be written" in text else real(self, n, text, failed=True)
    )


@mutant("errors.unwritable-is-named", "errors.unwritable-answer")
def unwritable_is_false() -> None:
    """Answers #f where the value cannot be written."""
    _on_failure(
        lambda real, self, n, text: (
            real(self, n, False) if "cannot be written" in text else real(self, n, text, failed=True)
        )
    )


@mutant("errors.unspecified-is-empty-list")
def unspecified_is_false() -> None:
    """Answers #f where a handler returned nothing."""
    around(S, "_write_atom", lambda real: lambda value: "#f" if value is None else real(value))


@mutant("errors.unspecified-answer")
def unspecified_has_no_answer() -> None:
    """Does not answer where a handler returned nothing."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            if value is not None:
                real(self, number, value, failed=failed)

        return run

    around(C, "answer", answer)


@mutant("errors.network-error-not-remote", "lifecycle.close-fails-others-requests", role="client")
def lost_connections_are_remote_errors() -> None:
    """Raises a remote error when the connection breaks."""
    P.NetworkError = type("N", (P.RemoteError,), {})  # type: ignore[misc]


@mutant("errors.request-after-close", role="client")
def waits_on_closed_connections() -> None:
    """A request on a closed connection waits for ever."""

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            if self.closed is not None:
                threading.Event().wait()
            return real(self, message)

        return run

    around(C, "request", request)


@mutant("errors.close-inside-handler")
def cannot_close_inside_a_handler() -> None:
    """Waits, when it closes, for its handlers to finish: also for the one that closes."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            with self.lock:
                while self.running:
                    self.idle.wait()
            real(self)

        return run

    around(C, "close", close)


@mutant("errors.many", role="server", security="insecure")
def failures_use_handlers_up() -> None:
    """Has room for a thousand handlers, and forgets to give back that of one which failed."""

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            room = connection.__dict__.setdefault("room", threading.Semaphore(1_000))
            room.acquire()
            value = real(self, connection, message)
            room.release()
            return value

        return run

    around(U.Service, "__call__", call)


@mutant("errors.message-over-limit", security="insecure")
def long_messages_are_not_sent() -> None:
    """Does not answer where what went wrong takes more than a packet to say."""
    _on_failure(
        lambda real, self, n, text: (
            real(self, n, text, failed=True) if len(S.write(text)) < P.MAX_PACKET - 100 else None
        )
    )


@mutant("errors.message-text")
def trims_messages() -> None:
    """Trims blanks and line feeds around messages."""
    _on_failure(lambda real, self, n, text: real(self, n, text.strip(), failed=True))


@mutant("errors.message-text")
def messages_of_64_kib() -> None:
    """Cuts messages at 65,535 characters."""
    _on_failure(lambda real, self, n, text: real(self, n, text[:65_535], failed=True))


@mutant("errors.non-condition")
def raised_nothing_is_nothing() -> None:
    """Says "error" where the empty list was raised, and not what."""
    _on_failure(lambda real, self, n, text: real(self, n, "error" if text == "uncaught: ()" else text, failed=True))


# --------------------------------------------------------------------------------------------------- lifecycle


@mutant(
    "lifecycle.client-closes", "lifecycle.connection-breaks", "lifecycle.client-killed", "lifecycle.many-open-and-close"
)
def forgets_the_close_handler() -> None:
    """A server never runs its close handler."""
    real = P.Server.__init__

    def init(self: Any, a: Any, b: Any, k: Any, on_open: Any, on_request: Any, on_close: Any) -> None:
        real(self, a, b, k, on_open, on_request, lambda connection: None)

    P.Server.__init__ = init


@mutant(
    "lifecycle.server-closes",
    "lifecycle.server-killed",
    "symmetry.server-closes",
    "lifecycle.cut-in-a-packet",
    role="client",
)
def client_forgets_the_close_handler() -> None:
    """A client never runs its close handler."""
    around(U, "open_connection", lambda real: lambda a, u, k, r, c: real(a, u, k, r, lambda connection: None))


@mutant("lifecycle.client-closes", "lifecycle.close-at-once", "lifecycle.client-killed")
def close_handler_twice() -> None:
    """Runs the close handler twice."""
    around(
        U.Puppet, "closed", lambda real: lambda self, connection: (real(self, connection), real(self, connection))[0]
    )


@mutant("lifecycle.server-closes", "lifecycle.close-tells-which", "errors.close-inside-handler")
def close_handler_for_own_close() -> None:
    """Runs the close handler also when this side closed."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            self.closed_here = False
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.close-tells-which")
def close_handler_for_another() -> None:
    """Tells the close handler of the connection that opened last."""
    around(U.Puppet, "closed", lambda real: lambda self, connection: real(self, list(self.numbers)[-1]))


@mutant("lifecycle.close-handler-beside-handlers", "lifecycle.half-close")
def close_handler_after_handlers() -> None:
    """Runs the close handler only once all request handlers have finished."""

    def closed(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            with connection.lock:
                while connection.running:
                    connection.idle.wait()
            real(self, connection)

        return run

    around(U.Puppet, "closed", closed)


@mutant("lifecycle.open-once", "lifecycle.close-at-once", "lifecycle.many-open-and-close")
def open_handler_twice() -> None:
    """Runs the open handler twice."""

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, *rest: Any) -> None:
            real(self, a, b, k, lambda connection: (on_open(connection), on_open(connection)), *rest)

        return run

    around(P.Server, "__init__", init)


@mutant("lifecycle.open-before-request")
def open_handler_late() -> None:
    """Runs the open handler beside the first requests instead of before them."""

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, *rest: Any) -> None:
            def late(connection: Any) -> None:
                threading.Timer(0.15, on_open, (connection,)).start()

            real(self, a, b, k, late, *rest)

        return run

    around(P.Server, "__init__", init)


@mutant("lifecycle.close-at-once")
def opens_with_the_first_request() -> None:
    """Runs the open handler when the first request comes, so never for a silent connection."""
    pending: dict[Any, Callable[[], None]] = {}

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, on_request: Any, on_close: Any) -> None:
            def closed(connection: Any) -> None:
                if connection not in pending:
                    on_close(connection)

            real(self, a, b, k, lambda c: pending.setdefault(c, lambda: on_open(c)), on_request, closed)

        return run

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self in pending:
                pending.pop(self)()
            real(self, packet)

        return run

    around(P.Server, "__init__", init)
    around(C, "packet_came", came)


def _no_failing_of_waiters(when: Callable[[Any], bool]) -> None:
    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if when(self):
                self.waiting = {}
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.close-fails-own-requests", role="client")
def own_close_leaves_waiting() -> None:
    """Requests that wait when their own side closes wait for ever."""
    _no_failing_of_waiters(lambda self: bool(self.closed_here))


@mutant(
    "lifecycle.close-fails-others-requests",
    "lifecycle.server-killed",
    "errors.network-error-not-remote",
    "lifecycle.cut-in-a-packet",
    role="client",
)
def lost_connections_leave_waiting() -> None:
    """Requests that wait when the other side closes, or dies, wait for ever."""
    _no_failing_of_waiters(lambda self: not self.closed_here)


@mutant("lifecycle.nothing-resent", "request.handler-runs-once")
def handles_twice() -> None:
    """Runs the handler of every request twice."""
    around(U.Service, "__call__", lambda real: lambda self, c, m: (real(self, c, m), real(self, c, m))[1])


@mutant("lifecycle.half-close", "hostile.half-close")
def drops_answers_at_the_end() -> None:
    """At an end of file closes at once, whatever handlers still run."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            real(self, reason)
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

        return run

    around(C, "over", over)


@mutant("lifecycle.half-close-fails-own")
def own_requests_wait_at_the_end() -> None:
    """At an end of file its own requests wait on until handlers have finished."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("the other end"):
                waiting, self.waiting = self.waiting, {}
                real(self, reason)

                def later() -> None:
                    with self.lock:
                        while self.running:
                            self.idle.wait()
                    for waiter in waiting.values():
                        waiter.fail(P.NetworkError(reason))

                threading.Thread(target=later, daemon=True).start()
            else:
                real(self, reason)

        return run

    around(C, "over", over)


@mutant("lifecycle.stop-refuses-new", role="server")
def stop_goes_on_listening() -> None:
    """stop-server! does not stop listening."""
    P.Server.stop = lambda self: setattr(self, "stopping", False)


@mutant("lifecycle.stop-and-start-again")
def stop_leaves_the_socket() -> None:
    """stop-server! leaves the socket's file behind, so that the address cannot be bound again."""
    real = P.os.unlink
    P.os = type("os", (), {"unlink": staticmethod(lambda path: None), "urandom": staticmethod(os.urandom)})
    assert real


@mutant("lifecycle.wait-blocks")
def wait_returns_at_once() -> None:
    """wait-until-server-stopped does not wait."""
    P.Server.wait = lambda self: None


@mutant("lifecycle.wait-blocks", "lifecycle.stop-with-connections", "lifecycle.stop-and-start-again")
def wait_never_returns() -> None:
    """wait-until-server-stopped never returns."""
    P.Server.wait = lambda self: threading.Event().wait()


@mutant("lifecycle.stop-while-handling")
def stop_forgets_handlers() -> None:
    """A request that runs when the server stops is never answered, nor its connection closed."""

    def answer(real: Any) -> Any:
        def run(self: Any, *a: Any, **k: Any) -> None:
            if not (self.server and self.server.stopping):
                real(self, *a, **k)

        return run

    around(C, "answer", answer)
    P.Server.finish = lambda self, connection: None


@mutant("lifecycle.idle", role="server")
def closes_idle_connections() -> None:
    """Closes a connection after five seconds of silence."""

    def start(real: Any) -> Any:
        def run(self: Any) -> None:
            self.sock.settimeout(5.0)
            real(self)

        return run

    around(C, "start", start)


@mutant("lifecycle.close-twice", role="client")
def close_twice_crashes() -> None:
    """Closing a second time ends the program."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            if self.closed_here:
                os._exit(70)
            real(self)

        return run

    around(C, "close", close)


@mutant("lifecycle.client-paused")
def waits_with_the_whole_program() -> None:
    """While a server waits for an answer to a request of its own, it handles nobody's requests."""
    waiting = threading.RLock()

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            with waiting:
                return real(self, message)

        return run

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, on_request: Any, *rest: Any) -> None:
            def handle(connection: Any, message: Any) -> Any:
                with waiting:
                    return on_request(connection, message)

            real(self, a, b, k, on_open, handle, *rest)

        return run

    around(C, "request", request)
    around(P.Server, "__init__", init)


@mutant("lifecycle.peer-paused", role="client")
def impatient() -> None:
    """A request that is not answered within half a second fails."""

    def result(real: Any) -> Any:
        def run(self: Any) -> Any:
            if not self.done.wait(0.25):
                raise P.NetworkError("no answer in time")
            return real(self)

        return run

    around(P.Waiter, "result", result)


@mutant("lifecycle.many-open-and-close", "hostile.many-silent-connections")
def ten_connections_at_most() -> None:
    """Serves ten connections, and closes any more."""
    claim("hardening")

    def welcome(real: Any) -> Any:
        def run(self: Any, sock: Any, name: Any) -> None:
            if len(self.connections) + self.pending > 10:
                sock.close()
                with self.lock:
                    self.pending -= 1
            else:
                real(self, sock, name)

        return run

    around(P.Server, "welcome", welcome)


@mutant("lifecycle.open-before-early-request", "lifecycle.open-before-request")
def open_handler_a_little_late() -> None:
    """Runs the open handler in a thread of its own, a quarter of a second beside the first requests."""

    def init(real: Any) -> Any:
        def run(self: Any, a: Any, b: Any, k: Any, on_open: Any, *rest: Any) -> None:
            real(self, a, b, k, lambda c: threading.Timer(0.25, on_open, (c,)).start(), *rest)

        return run

    around(P.Server, "__init__", init)


@mutant("lifecycle.close-beside-own-handlers")
def close_waits_for_handlers() -> None:
    """Closing waits for the handlers that run on this side, save for one that closes itself."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            with self.lock:
                while self.running and threading.current_thread().name != "handler":
                    self.idle.wait()
            real(self)

        return run

    def handler(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            threading.current_thread().name = "handler"
            real(self, *a)

        return run

    around(C, "run_handler", handler)
    around(C, "close", close)


def _resets_when_closing() -> None:
    def close(self: Any) -> None:
        self.closed_here = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.over("this side closed the connection")
        self.sock.shutdown(socket.SHUT_RD)  # wakes the reader, which closes the socket

    around(C, "end", lambda real: lambda self, reason: None if self.closed_here else real(self, reason))
    C.close = close


@mutant("lifecycle.close-is-no-reset", transport="tcp")
def resets_when_closing() -> None:
    """Closes with a reset."""
    _resets_when_closing()


@mutant("lifecycle.client-close-is-no-reset", role="client", transport="tcp")
def client_resets_when_closing() -> None:
    """A client that closes with a reset."""
    _resets_when_closing()


@mutant("lifecycle.info-after-close")
def forgets_users_at_the_end() -> None:
    """A connection that is over has no user any more."""
    around(C, "over", lambda real: lambda self, why: (real(self, why), setattr(self, "user", None))[0])


@mutant("lifecycle.info-after-close", security="insecure")
def forgets_addresses_at_the_end() -> None:
    """A connection that is over has no address any more."""
    nowhere = ("tcp", "0.0.0.0", 0)
    around(C, "over", lambda real: lambda self, why: (real(self, why), setattr(self, "address", nowhere))[0])


@mutant("lifecycle.requests-race-the-end", role="client")
def waits_on_broken_connections() -> None:
    """A request on a connection that the other side ended waits for ever."""

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            if self.closed is not None and not self.closed_here:
                threading.Event().wait()
            return real(self, message)

        return run

    around(C, "request", request)


@mutant("lifecycle.stop-lets-handlers-finish", "lifecycle.stop-takes-answers")
def stop_cuts_handlers_off() -> None:
    """Closes connections when the server stops, whatever handlers run."""
    P.Server.finish = lambda self, connection: connection.close()


@mutant("lifecycle.stop-closes-idle")
def stop_leaves_connections_open() -> None:
    """A server that stops leaves its connections open until their clients close them."""
    P.Server.finish = lambda self, connection: None


@mutant("lifecycle.stop-closes-idle")
def stop_runs_close_handlers() -> None:
    """Runs the close handlers of the connections that stopping the server closes."""

    def finish(self: Any, connection: Any) -> None:
        def run() -> None:
            with connection.lock:
                while connection.running:
                    connection.idle.wait()
            connection.end("the server was stopped")

        threading.Thread(target=run, daemon=True).start()

    P.Server.finish = finish


@mutant("lifecycle.stop-takes-answers")
def stop_drops_answers() -> None:
    """A server that stops takes nothing in any more, so that its handlers wait for ever."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if not (self.server and self.server.stopping):
                real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("lifecycle.stop-refuses-requests")
def stop_ignores_requests() -> None:
    """A server that stops does not answer new requests."""

    def came(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            if not (self.server and self.server.stopping):
                real(self, *a)

        return run

    around(C, "request_came", came)


@mutant("lifecycle.stop-refuses-requests")
def stop_serves_on() -> None:
    """A server that stops serves new requests as long as old ones run."""

    def came(self: Any, number: int, body: Any) -> None:
        with self.lock:
            self.running += 1
        threading.Thread(target=self.run_handler, args=(number, body), daemon=True).start()

    C.request_came = came


@mutant("lifecycle.wait-waits-for-handlers")
def waits_for_listening_alone() -> None:
    """wait-until-server-stopped returns when listening has ended, whatever runs."""

    def wait(self: Any) -> None:
        with self.lock:
            while not self.stopping:
                self.lock.wait()

    P.Server.wait = wait


@mutant("lifecycle.stop-removes-the-file", security="insecure")
def clears_up_at_the_next_start() -> None:
    """Leaves the socket's file when it stops, and removes whatever is there when it starts."""
    real = P.bind

    def bind(address: Any) -> socket.socket:
        if address[0] == "unix":
            with contextlib.suppress(OSError):
                os.unlink(address[1])
        return real(address)

    P.bind = bind
    P.os = type("os", (), {"unlink": staticmethod(lambda path: None), "urandom": staticmethod(os.urandom)})


@mutant("connect.socket-in-use")
def takes_sockets_away() -> None:
    """Removes whatever is at a path before it binds there, also what another server listens at."""
    claim("hardening")
    real = P.bind

    def bind(address: Any) -> socket.socket:
        if address[0] == "unix":
            with contextlib.suppress(OSError):
                os.unlink(address[1])
        return real(address)

    P.bind = bind


@mutant("lifecycle.stop-and-start-again", transport="tcp")
def cannot_bind_again() -> None:
    """Does not ask for its port to be bound again while old connections are remembered."""

    def bind(address: Any) -> socket.socket:
        sock = socket.socket(socket.AF_INET)
        sock.bind((address[1] or "0.0.0.0", address[2]))
        return sock

    P.bind = bind


@mutant("connect.backlog-holds", security="insecure")
def backlog_of_its_own() -> None:
    """Listens with a backlog of its own, whatever was asked for."""
    around(P.Server, "__init__", lambda real: lambda self, address, backlog, *rest: real(self, address, 128, *rest))


@mutant("connect.backlog-holds", security="insecure")
def backlog_of_one() -> None:
    """Listens with a backlog of one."""
    around(P.Server, "__init__", lambda real: lambda self, address, backlog, *rest: real(self, address, 1, *rest))


# ------------------------------------------------------------------------------- order, handlers, threads


@mutant("request.out-of-order", "request.handlers-at-once", "request.slow-handler-elsewhere", "symmetry.nested")
def one_handler_at_a_time() -> None:
    """Runs handlers one after another, of all connections."""
    lock = threading.Lock()

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            with lock:
                return real(self, connection, message)

        return run

    around(U.Service, "__call__", call)


@mutant("request.out-of-order", "request.reversed-order", role="server")
def answers_in_order() -> None:
    """Sends answers in the order of the requests, however long that takes."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            mine, before = threading.Event(), getattr(self, "last_turn", None)
            self.last_turn = mine
            TURNS[self, number] = (before, mine)
            real(self, number, body)

        return run

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, *a: Any, **k: Any) -> None:
            before, mine = TURNS.get((self, number), (None, None))
            if before is not None:
                before.wait(30)
            real(self, number, *a, **k)
            if mine is not None:
                mine.set()

        return run

    around(C, "request_came", came)
    around(C, "answer", answer)


TURNS: dict[Any, Any] = {}


@mutant("request.reversed-order", "request.out-of-order", role="client")
def mixes_answers_up() -> None:
    """Gives an answer to the request that has waited longest."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            tag, number, body = real(text)
            if tag != "request":
                number = min([*(n for c in U_CONNECTIONS for n in c.waiting), number])
            return tag, number, body

        return run

    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), U_CONNECTIONS.append(self))[0])
    around(P, "parse_message", parse)


@mutant("symmetry.server-calls-client", "symmetry.callback", role="client")
def client_serves_nothing() -> None:
    """A client does not serve requests."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if self.server is not None:
                real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("request.ids-count-up", role="client")
def counts_from_one() -> None:
    """Numbers its requests from 1."""
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "next_id", 1))[0])


@mutant("request.bytes-in-strings", "sexpr.strings", role="client")
def strings_as_utf8() -> None:
    """Replaces in strings what is no UTF-8."""

    def atom(real: Any) -> Any:
        def run(value: Any) -> str:
            if isinstance(value, str) and not isinstance(value, Symbol | S.Keyword):
                value = value.encode("latin-1").decode("utf-8", "replace").encode().decode("latin-1")
            return real(value)

        return run

    around(S, "_write_atom", atom)


@mutant("sexpr.symbols", role="client")
def symbols_without_bars() -> None:
    """Writes symbols without bars."""
    S.write_symbol = str


@mutant("sexpr.flonums", role="client")
def flonums_of_python() -> None:
    """Writes flonums as Python does."""
    S.write_flonum = repr


@mutant("connect.address-of-client", "connect.address-of-server")
def own_address() -> None:
    """Tells its own address instead of the other end's."""
    around(U, "address_datum", lambda real: lambda address: [Symbol("tcp"), "0.0.0.0", 1] if address else real(address))


# ----------------------------------------------------------------------------------------------------- hostile


@mutant(
    "hostile.not-a-list",
    "hostile.two-datums",
    "hostile.trailing-bytes",
    "hostile.empty-message",
    "hostile.unknown-tag",
    "hostile.wrong-shape",
    "hostile.bad-id",
    "hostile.unasked-answer",
    "hostile.second-answer",
    "hostile.eof-object",
    "hostile.unclosed-comment",
    "hostile.waiting-requests-fail",
    "hostile.endless-nesting",
    "hostile.garbage-after-hello",
    "hostile.reflected-response",
    "hostile.tampered",
    "hostile.tampered-length",
    "hostile.other-key",
    "hostile.tiny-packets",
)
def ignores_bad_packets() -> None:
    """Ignores packets that it does not understand instead of closing."""
    _ignore_protocol_errors()


@mutant(
    "hostile.server-sends-no-list",
    "hostile.server-sends-wrong-shape",
    "hostile.server-answers-unasked",
    "hostile.server-answers-twice",
    "hostile.server-replays-answer",
    "hostile.server-tampers",
    "hostile.server-sends-garbage",
    role="client",
)
def client_ignores_bad_packets() -> None:
    """A client that ignores packets that it does not understand instead of closing."""
    _ignore_protocol_errors()


@mutant("hostile.not-a-list", "hostile.garbage", "hostile.length-over-limit", "hostile.hello-tampered")
def dies_of_bad_packets() -> None:
    """A protocol error ends the whole program."""
    around(P.ProtocolError, "__init__", lambda real: lambda self, *a: os._exit(70))
    around(P, "refuse", lambda real: lambda sock: os._exit(70))


@mutant("hostile.server-sends-garbage", "hostile.server-truncates", "hostile.server-speaks-first", role="client")
def client_dies_of_bad_packets() -> None:
    """A protocol error ends the client's whole program."""
    around(P.ProtocolError, "__init__", lambda real: lambda self, *a: os._exit(70))


@mutant("hostile.two-datums", "hostile.trailing-bytes")
def takes_the_first_datum() -> None:
    """Reads one datum of a packet and ignores the rest."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            try:
                _, end = S.read(text)
                return real(text[:end])
            except S.ReadError:
                return real(text)

        return run

    around(P, "parse_message", parse)


@mutant("hostile.unasked-answer", "hostile.second-answer", "hostile.reflected-response")
def ignores_unasked_answers() -> None:
    """Ignores an answer to a question that it never asked."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            try:
                real(self, packet)
            except P.ProtocolError as error:
                if "never asked" not in str(error):
                    raise

        return run

    around(C, "packet_came", came)


@mutant("hostile.largest-id")
def ids_of_32_bits() -> None:
    """Keeps the IDs of requests in 32 bits."""
    around(C, "answer", lambda real: lambda self, number, *a, **k: real(self, number & 0xFFFFFFFF, *a, **k))


@mutant("hostile.packet-at-the-limit")
def limit_of_eight_mebibytes() -> None:
    """Takes packets of 8 MiB at most."""
    around(P, "read_packet", lambda real: lambda sock, limit: real(sock, min(limit, 8 << 20)))


@mutant("hostile.bad-id")
def takes_any_id() -> None:
    """Takes any ID."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            try:
                return real(text)
            except P.ProtocolError:
                value, _ = S.read(text)
                if isinstance(value, list) and len(value) == 3 and value[0] == "request":
                    return "request", 12345, value[2]
                raise

        return run

    around(P, "parse_message", parse)


@mutant("hostile.unreadable-request")
def unreadable_requests_close() -> None:
    """Closes where one request's datum does not read."""
    around(
        C,
        "request_came",
        lambda real: (
            lambda self, n, body: real(self, n, body) if not isinstance(body, P.Unreadable) else self.end("unreadable")
        ),
    )


@mutant("hostile.unreadable-answer", "hostile.server-sends-unreadable-answer", role="client")
def unreadable_answers_close() -> None:
    """Closes where one answer's datum does not read."""
    _unreadable(lambda real, text, found: _protocol_error())


def _protocol_error() -> Any:
    raise P.ProtocolError("unreadable")


def _unreadable(act: Callable[[Any, str, Any], Any]) -> None:
    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            found = real(text)
            return act(real, text, found) if isinstance(found[2], P.Unreadable) else found

        return run

    around(P, "parse_message", parse)


@mutant("hostile.server-sends-unreadable-request", role="client")
def unreadable_requests_are_ignored() -> None:
    """Does not answer a request that it cannot read."""
    around(
        C,
        "request_came",
        lambda real: lambda self, n, body: real(self, n, body) if not isinstance(body, P.Unreadable) else None,
    )


@mutant("hostile.deep-nesting", "hostile.endless-nesting")
def reads_by_recursion() -> None:
    """Reads nested datums by recursion, and dies where the stack ends."""

    def read(real: Any) -> Any:
        def run(text: str, at: int = 0) -> Any:
            if text.count("(") > 100_000 or text.count("'") > 100_000:
                os._exit(139)  # what a C stack does
            return real(text, at)

        return run

    around(S, "read", read)


@mutant("hostile.server-sends-huge-things", role="client")
def client_reads_by_recursion() -> None:
    """A client that reads nested datums by recursion, and dies where the stack ends."""
    reads_by_recursion()


@mutant("hostile.huge-numbers")
def numbers_take_for_ever() -> None:
    """Needs hours for a number of thousands of digits."""

    def token(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if text[at : at + 3_000].isdigit():
                time.sleep(3_600)
            return real(text, at)

        return run

    around(S, "_token", token)


@mutant("hostile.million-symbols")
def interns_symbols_slowly() -> None:
    """Keeps every symbol in a list that it searches from the start."""
    claim("hardening")
    table: list[str] = []

    class Interned(str):
        __slots__ = ()

        def __new__(cls, name: str) -> Any:
            if len(table) > 2_000:
                time.sleep(0.0005)
            table.append(name)
            return str.__new__(cls, name)

    real = S._token

    def token(text: str, at: int) -> Any:
        value, at = real(text, at)
        if isinstance(value, Symbol):
            Interned(value)
        return value, at

    S._token = token


@mutant("hostile.length-over-limit", "hostile.length-over-limit-before-hello")
def no_limit_on_lengths() -> None:
    """Awaits as many bytes as a length says."""
    around(P, "read_packet", lambda real: lambda sock, limit: real(sock, 1 << 40))


@mutant("hostile.length-over-limit-before-hello")
def one_limit_for_all() -> None:
    """Has the limit of messages for hellos as well."""
    around(P, "read_packet", lambda real: lambda sock, limit: real(sock, max(limit, 1 << 24)))


@mutant("hostile.tiny-packets", "hostile.server-sends-garbage", role="server")
def tiny_packets_kill() -> None:
    """Dies of a packet too short for a box."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if len(packet) < 41:
                os._exit(139)
            real(self, packet)

        return run

    around(C, "packet_came", came)


MUTANTS["tiny-packets-kill"] = Mutant(**{**MUTANTS["tiny-packets-kill"].__dict__, "cases": ("hostile.tiny-packets",)})


@mutant("hostile.truncated-packet")
def truncation_is_no_end() -> None:
    """Waits on where a connection ended inside a packet."""

    def exactly(real: Any) -> Any:
        def run(sock: Any, count: int) -> Any:
            try:
                return real(sock, count)
            except P.ProtocolError:
                threading.Event().wait()

        return run

    around(P, "read_exactly", exactly)


@mutant("hostile.white-space-and-comments")
def no_comments() -> None:
    """Knows no comments."""

    def blank(text: str, at: int) -> int:
        while at < len(text) and text[at] in " \t\n\v\f\r":
            at += 1
        return at

    S.skip_blank = blank


@mutant("hostile.white-space-and-comments")
def no_brackets() -> None:
    """Knows no brackets."""
    S._CLOSER = {"(": ")"}


@mutant("hostile.reads-unspecified")
def cannot_read_unspecified() -> None:
    """Takes #<unspecified> for something that cannot be read."""

    def atom(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if text.startswith("#<", at):
                raise S.ReadError("#<...>")
            return real(text, at)

        return run

    around(S, "_atom", atom)


@mutant("hostile.any-nonce")
def wants_rising_nonces() -> None:
    """Refuses a nonce that is not greater than the one before."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self.box:
                if packet[:24] <= getattr(self, "last_nonce", b""):
                    raise P.ProtocolError("an old nonce")
                self.last_nonce = packet[:24]
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.hello-bad-session-key")
def any_session_key_length() -> None:
    """Takes a session key of any length, cut or filled up with zeros."""

    def hello(self: Any, sock: Any, user_to_key: Any) -> tuple[str, bytes]:
        sock.settimeout(10)
        name, boxed = P.read_packet(sock, 255), P.read_packet(sock, 1000)
        user = (name or b"").decode("latin-1")
        session = SecretBox(user_to_key(user) or os.urandom(32)).decrypt(boxed or b"")
        sock.settimeout(None)
        return user, session[:32].ljust(32, b"\0")

    P.Server.hello = hello


MUTANTS["any-session-key-length"] = Mutant(
    **{**MUTANTS["any-session-key-length"].__dict__, "cases": ("hostile.hello-bad-session-key",)}
)


@mutant("hostile.hello-strange-names")
def strange_names_kill() -> None:
    """Dies of a username that is no UTF-8."""
    _lookup(lambda get, user: get(user) if _is_utf8(user) else os._exit(70))


def _is_utf8(text: str) -> bool:
    try:
        text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True


@mutant("hostile.log-is-clean")
def logs_names_raw() -> None:
    """Writes usernames to its log as they come."""
    claim("hardening")

    def log(get: Any, user: str) -> Any:
        sys.stderr.write(f"login by {user}\n")
        sys.stderr.flush()
        return get(user)

    _lookup(log)


@mutant("hostile.hello-withheld", "hostile.insecure-request-at-secure-server")
def no_hello_timeout() -> None:
    """Waits for a hello for ever."""
    claim("hardening")
    P.HELLO_SECONDS = None


@mutant("hostile.hello-drip-fed")
def hello_timeout_per_byte() -> None:
    """Gives every byte of a hello ten seconds of its own."""
    claim("hardening")  # the example's own timeout is one for each read already


@mutant("connect.half-open-neighbour", "hostile.hello-withheld")
def one_hello_at_a_time() -> None:
    """Reads one client's hello before it accepts the next."""
    claim("hardening")
    lock = threading.Lock()

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            with lock:
                return real(self, *a)

        return run

    around(P.Server, "hello", hello)


@mutant("hostile.slow-but-good-hello", "hostile.packet-in-pieces")
def one_read_one_packet() -> None:
    """Takes what one read gives for a packet."""

    def exactly(sock: Any, count: int) -> bytes | None:
        if count == 0:
            return None
        data = sock.recv(count)
        if data and len(data) < count:
            raise P.ProtocolError("a short read")
        return data or None

    P.read_exactly = exactly


@mutant("hostile.packets-in-one-piece", "hostile.flood-of-requests")
def loses_what_comes_at_once() -> None:
    """Throws away what came together with a packet."""

    def read_packet(real: Any) -> Any:
        def run(sock: Any, limit: int) -> Any:
            packet = real(sock, limit)
            if limit == P.MAX_PACKET:
                with contextlib.suppress(OSError):
                    sock.recv(1 << 20, socket.MSG_DONTWAIT)
            return packet

        return run

    around(P, "read_packet", read_packet)


@mutant(
    "hostile.hello-replayed",
    "hostile.hello-replayed-at-once",
    "hostile.hello-replayed-as-other",
    "hostile.replayed-packet",
    "hostile.used-id",
    "hostile.id-below-window",
    "hostile.reflected-request",
)
def claims_guards() -> None:
    """Claims to have guards, and has none."""
    claim("hardening")


@mutant("hostile.server-reflects", "hostile.server-replays-request", role="client")
def client_claims_guards() -> None:
    """A client that claims to have guards, and has none."""
    claim("hardening")


@mutant("hostile.ids-with-gaps")
def wants_ids_in_order() -> None:
    """Takes only the next ID."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if number != getattr(self, "expected_id", 0):
                raise P.ProtocolError("an ID out of order")
            self.expected_id = number + 1
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.never-reads", "hostile.server-never-reads")
def one_lock_for_all_writing() -> None:
    """Has one lock for the writing of all its connections."""
    claim("hardening")
    lock = threading.RLock()
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "write_lock", lock))[0])


MUTANTS["one-lock-for-all-writing"] = Mutant(
    **{**MUTANTS["one-lock-for-all-writing"].__dict__, "cases": ("hostile.never-reads",)}
)


@mutant("hostile.server-never-reads", role="client")
def client_one_lock_for_all_writing() -> None:
    """A client that has one lock for the writing of all its connections."""
    one_lock_for_all_writing()


@mutant("hostile.vanishes", transport="tcp")
def resets_are_ignored() -> None:
    """Takes a reset for nothing: neither ends the connection nor runs the close handler."""
    claim("hardening")

    def exactly(real: Any) -> Any:
        def run(sock: Any, count: int) -> Any:
            try:
                return real(sock, count)
            except OSError:
                threading.Event().wait()

        return run

    around(P, "read_exactly", exactly)


@mutant("hostile.flood-of-requests")
def drops_requests_under_load() -> None:
    """Drops requests without a word when many run."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if self.running < 500:
                real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.answers-in-any-order")
def wants_answers_in_order() -> None:
    """Takes an answer that comes before an older one's for a protocol error."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            body = self.box.decrypt(packet) if self.box else packet
            tag, number, _ = P.parse_message(body.decode("latin-1"))
            if tag != "request" and self.waiting and number != min(self.waiting):
                raise P.ProtocolError("an answer out of order")
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.server-answers-in-drips", role="client")
def client_one_read_one_packet() -> None:
    """A client that takes what one read gives for a packet."""
    one_read_one_packet()


@mutant("hostile.server-never-answers", role="client")
def client_gives_up_soon() -> None:
    """A client whose requests fail after a tenth of a second, and that cannot close while one waits."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            if self.waiting:
                threading.Event().wait()
            real(self)

        return run

    around(C, "close", close)


@mutant("hostile.server-closes-at-once", "hostile.server-speaks-first", role="client")
def client_hangs_on_early_ends() -> None:
    """A client that does not notice an end before the first answer."""
    claim("hardening")

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if self.server is None and self.next_id == 0 and not self.closed_here:
                return
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("hostile.server-answers-in-any-order", role="client")
def client_wants_answers_in_order() -> None:
    """A client that takes an answer that comes before an older one's for a protocol error."""
    wants_answers_in_order()


@mutant("hostile.server-reflects-response", role="client")
def client_ignores_unasked_answers() -> None:
    """A client that ignores an answer to a question that it never asked."""
    ignores_unasked_answers()


@mutant("hostile.server-half-closes", role="client")
def client_drops_answers_at_the_end() -> None:
    """A client that closes at once at an end of file, whatever handlers still run."""
    drops_answers_at_the_end()


@mutant("hostile.server-writes-otherwise", role="client")
def client_knows_no_comments() -> None:
    """A client that knows no comments."""
    no_comments()


def _remembers_hellos(most: int) -> None:
    claim("hardening")
    seen: list[bytes] = []

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            user, session = real(self, *a)
            if session in seen:
                raise P.ProtocolError("a hello that was seen before")
            seen.append(session)
            del seen[:-most]
            return user, session

        return run

    around(P.Server, "hello", hello)


@mutant("hostile.hello-replayed-late")
def remembers_16_hellos() -> None:
    """Remembers the last sixteen hellos alone."""
    _remembers_hellos(16)


def _window(is_used: Callable[[set[int], int, int], bool]) -> None:
    """Guard IDs: `is_used(seen, highest, id)`."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            seen = self.__dict__.setdefault("seen_ids", set())
            if is_used(seen, max(seen, default=-1), number):
                raise P.ProtocolError(f"request {number} was used before")
            seen.add(number)
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.every-used-id", security="insecure")
def window_without_its_top() -> None:
    """Forgets that the highest ID was used."""
    _window(lambda seen, top, number: number in seen and number != top)


@mutant("hostile.every-used-id", security="insecure")
def window_too_small() -> None:
    """Has a window of 16 IDs, and takes what is below it for new."""
    _window(lambda seen, top, number: number in seen and number > top - 16)


@mutant("hostile.every-used-id", security="insecure")
def window_forgets_gaps() -> None:
    """Forgets which of the IDs that came late were used."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            rising = self.__dict__.setdefault("rising_ids", [])
            if number in rising:
                raise P.ProtocolError(f"request {number} was used before")
            if number > max(rising, default=-1):
                rising.append(number)
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.every-used-id", security="insecure")
def window_cleared_by_jumps() -> None:
    """Forgets what was used when an ID jumps far ahead, the low ones and the one that jumped."""

    def is_used(seen: set[int], top: int, number: int) -> bool:
        if number > top + 1_000:
            seen.clear()
            return False
        return number in seen

    _window(is_used)


@mutant("hostile.lengths-cost-nothing")
def takes_memory_in_advance() -> None:
    """Fills as many bytes as a length says before it reads them."""
    claim("hardening")

    def read_packet(sock: Any, limit: int) -> bytes | None:
        head = P.read_exactly(sock, 4)
        if head is None:
            return None
        length = int.from_bytes(head, "big")
        if length > limit:
            raise P.ProtocolError("a packet over the limit")
        room = bytearray(b"." * length)
        room[:] = P.read_exactly(sock, length) or b""
        return bytes(room)

    P.read_packet = read_packet


@mutant("hostile.leaves-nothing-open")
def never_closes_its_sockets() -> None:
    """Ends connections, and leaves their descriptors open."""
    claim("hardening")
    kept: list[Any] = []

    def read_all(real: Any) -> Any:
        def run(self: Any) -> None:
            kept.append(self.sock.dup())
            real(self)

        return run

    around(C, "read_all", read_all)


@mutant("hostile.server-floods", role="client")
def client_drops_requests_under_load() -> None:
    """A client that drops requests without a word when many run."""
    drops_requests_under_load()


@mutant("hostile.bad-id", security="insecure")
def ids_may_be_flonums() -> None:
    """Takes a flonum that is a whole number for an ID."""
    around(P, "parse_message", lambda real: lambda text: real(re.sub(r"^(\(\w+ \d+)\.0*(?= )", r"\1", text)))


@mutant("hostile.hello-bad-session-key")
def takes_more_than_a_session_key() -> None:
    """Ignores what comes behind the 72 bytes of a boxed session key."""

    def hello(self: Any, sock: Any, user_to_key: Any) -> tuple[str, bytes]:
        sock.settimeout(P.HELLO_SECONDS)
        name, boxed = P.read_packet(sock, P.NAME_LIMIT), P.read_packet(sock, 200)
        if name is None or boxed is None:
            raise P.ProtocolError("no hello")
        user = name.decode("latin-1")
        session = SecretBox(user_to_key(user) or os.urandom(32)).decrypt(boxed[: P.BOXED_KEY])
        if len(session) != 32:
            raise P.ProtocolError("no session key")
        sock.settimeout(None)
        return user, session

    P.Server.hello = hello


@mutant("request.handlers-wait-for-one-another")
def eight_handlers_at_most() -> None:
    """Runs eight handlers of a connection at once, and lets the others wait."""

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            with connection.__dict__.setdefault("room", threading.Semaphore(8)):
                return real(self, connection, message)

        return run

    around(U.Service, "__call__", call)


@mutant("request.client-handlers-wait-for-one-another", role="client")
def client_handles_while_it_reads() -> None:
    """A client that runs handlers in the thread that reads."""

    def came(self: Any, number: int, body: Any) -> None:
        if isinstance(body, P.Unreadable):
            self.answer(number, "unreadable", failed=True)
            return
        with self.lock:
            self.running += 1
        self.run_handler(number, body)

    C.request_came = came


def main() -> None:
    """Be the puppet of one mutant, or print the table of all."""
    if sys.argv[1] == "--table":
        print("| mutant | what is wrong with it | caught by |\n|---|---|---|")
        for found in MUTANTS.values():
            print(f"| `{found.name}` | {found.title} | {', '.join(f'`{case}`' for case in found.cases)} |")
        return
    MUTANTS[sys.argv[1]].break_it()
    U.main()


if __name__ == "__main__":
    main()
