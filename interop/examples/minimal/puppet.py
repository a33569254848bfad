#!/usr/bin/env python3
"""The puppet of the minimal peer: steered by `bokbok-interop` over standard input and output.

What it knows: the puppet protocol and the conformance service.
One command is one line; each runs in a thread of its own, since a request may take any time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import sexpr
from peer import (
    Connection,
    NetworkError,
    RemoteError,
    Server,
    address_datum,
    open_connection,
    parse_address,
    passphrase_to_key,
)
from sexpr import Symbol

FEATURES = [
    *map(Symbol, ("puppet-1", "tcp", "unix", "ipv6", "secure", "insecure", "port-0")),
    *map(Symbol, ("rendezvous", "reference", "profile")),
    [Symbol("dialect"), Symbol("chicken-4")],
    [Symbol("profile"), Symbol("inferred-1")],
]


class Rendezvous:
    """Handlers that wait until the runner releases them by name.

    Args:
        tell: called with the name when a handler begins to wait.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.waiting: Counter[str] = Counter()
        self.released: set[str] = set()
        self.changed = threading.Condition()

    def wait(self, name: str) -> str:
        """Wait for a name, unless it was released before. Returns the name."""
        with self.changed:
            self.waiting[name] += 1
        self.tell(name)
        with self.changed:
            self.changed.wait_for(lambda: name in self.released)
        return name

    def release(self, name: str) -> int:
        """Release the handlers that wait for a name, now and later. Returns how many waited."""
        with self.changed:
            self.released.add(name)
            self.changed.notify_all()
            return self.waiting.pop(name, 0)


class Service:
    """The request handler that every puppet has.

    Args:
        await_name: waits for a rendezvous; its value is the answer.
    """

    def __init__(self, await_name: Callable[[str], str]) -> None:
        self.await_name = await_name
        self.counters: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, connection: Connection, message: Any) -> Any:
        """Answer one request."""
        match message if isinstance(message, list) else None:  # (a vector would match a list's pattern)
            case ["echo", x]:
                return x
            case ["ping", s]:
                return ["pong", s]
            case ["sleep", int(milliseconds), x]:
                time.sleep(milliseconds / 1000)
                return x
            case ["count", str(name)]:
                with self.lock:
                    self.counters[name] += 1
                    return self.counters[name]
            case ["fail", str(why)]:
                raise RuntimeError(why)
            case ["raise", x]:
                raise RuntimeError(f"uncaught: {sexpr.write(x)}")
            case ["callback", int(n), x]:
                return [connection.request(["echo", [i, x]]) for i in range(n)]
            case ["relay", 0, x]:
                return x
            case ["relay", int(n), x]:
                return connection.request(["relay", n - 1, x])
            case ["whoami"]:
                return False if connection.user is None else connection.user
            case ["type", x]:
                return type(x).__name__
            case ["unspecified"]:
                return None
            case ["unwritable"]:
                return self.__call__
            case ["close"]:
                return connection.close()
            case ["await", str(name)]:
                return self.await_name(name)
        raise RuntimeError(f"unknown request: {sexpr.write(message)}")


class Puppet:
    """What is open here, by handle, and how to write lines."""

    def __init__(self) -> None:
        self.rendezvous = Rendezvous(lambda name: self.say(Symbol("event"), Symbol("awaiting"), name))
        self.service = Service(self.rendezvous.wait)
        self.handles: dict[int, Any] = {}
        self.numbers: dict[Connection, int] = {}
        self.lock = threading.Lock()

    def say(self, *datum: Any) -> None:
        """Print one line."""
        line = sexpr.write(list(datum)).encode("latin-1") + b"\n"
        with self.lock:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def obey(self, line: bytes) -> None:
        """Carry out one command, and answer it."""
        (number, command, *arguments), _ = sexpr.read(line.decode("latin-1"))
        method = getattr(self, f"do_{command}", None)
        if method is None:
            self.say(number, Symbol("unsupported"), str(command))
            return
        try:
            self.say(number, *method(*arguments))
        except RemoteError as error:
            self.say(number, Symbol("remote-error"), str(error))
        except NetworkError as error:
            self.say(number, Symbol("network-error"), str(error))
        except (ValueError, KeyError) as error:
            self.say(number, Symbol("invalid"), str(error))

    def do_hello(self) -> tuple[Any, ...]:
        """`hello`: its name and features."""
        return Symbol("ok"), "minimal", "1", FEATURES

    def do_listen(self, handle: int, address: Any, backlog: int, users: Any) -> tuple[Any, ...]:
        """`start-server`."""
        keys = {}
        for user in users or []:
            passphrase = user.tail if isinstance(user, sexpr.Dotted) else False
            keys[user.items[0]] = passphrase_to_key(passphrase) if passphrase is not False else None
        number = -1000 * handle

        def opened(connection: Connection) -> None:
            nonlocal number
            with self.lock:
                number -= 1
                mine = self.numbers[connection] = number
            self.handles[mine] = connection
            user = False if connection.user is None else connection.user
            self.say(Symbol("event"), Symbol("opened"), handle, mine, user, address_datum(connection.address))

        server = Server(
            parse_address(address), backlog, keys.get if users is not False else None, opened, self.service, self.closed
        )
        self.handles[handle] = server
        return Symbol("ok"), address_datum(server.address)

    def do_connect(self, handle: int, address: Any, user: Any, passphrase: Any) -> tuple[Any, ...]:
        """`open-connection!`."""
        ready = threading.Event()

        def closed(connection: Connection) -> None:
            ready.wait()
            self.closed(connection)

        connection = open_connection(
            parse_address(address),
            None if user is False else user,
            None if passphrase is False else passphrase_to_key(passphrase),
            self.service,
            closed,
        )
        self.handles[handle] = connection
        self.numbers[connection] = handle
        ready.set()
        return (Symbol("ok"),)

    def closed(self, connection: Connection) -> None:
        """The close handler of every connection."""
        self.say(Symbol("event"), Symbol("closed"), self.numbers[connection])

    def do_request(self, handle: int, datum: Any) -> tuple[Any, ...]:
        """`request!`."""
        return Symbol("response"), self.handles[handle].request(datum)

    def do_info(self, handle: int) -> tuple[Any, ...]:
        """`connection-user` and `connection-addr`."""
        connection = self.handles[handle]
        user = False if connection.user is None else connection.user
        return Symbol("ok"), user, address_datum(connection.address)

    def do_close(self, handle: int) -> tuple[Any, ...]:
        """`close-connection!`."""
        self.handles[handle].close()
        return (Symbol("ok"),)

    def do_stop(self, handle: int) -> tuple[Any, ...]:
        """`stop-server!`."""
        self.handles[handle].stop()
        return (Symbol("ok"),)

    def do_wait(self, handle: int) -> tuple[Any, ...]:
        """`wait-until-server-stopped`."""
        self.handles[handle].wait()
        return (Symbol("ok"),)

    def do_signal(self, name: str) -> tuple[Any, ...]:
        """Release the handlers that wait for a name."""
        return Symbol("ok"), self.rendezvous.release(name)

    def do_key(self, passphrase: str) -> tuple[Any, ...]:
        """`passphrase->key`."""
        return Symbol("ok"), passphrase_to_key(passphrase)


def main() -> None:
    """Obey until the end of standard input, then close everything by leaving."""
    threading.stack_size(512 * 1024)
    puppet = Puppet()
    for line in sys.stdin.buffer:
        threading.Thread(target=puppet.obey, args=(line,), daemon=True).start()
    for thing in list(puppet.handles.values()):
        (thing.stop if isinstance(thing, Server) else thing.close)()


if __name__ == "__main__":
    main()
