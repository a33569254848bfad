"""Connecting: every form of address, what a server binds to, what is refused.

What this module knows: the sentences about addresses and listening.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bokbok.sexpr import Symbol
from bokbok_traffic.streams import fill_backlog, open_stream

from ..model import Failure
from ..peers.base import HostKind
from ..peers.local import free_port
from ..play import (
    PASSPHRASE,
    PATIENCE,
    USER,
    Conn,
    Invalid,
    NetworkFailed,
    Play,
    RemoteFailed,
    Served,
    Unsupported,
    canonical,
    show,
)
from ..raw import attack
from .base import cases

case = cases(direct=True)

LONGEST_PATH = 107
"""Bytes of a Unix socket's path on Linux: 108, with the NUL at its end (unix(7))."""


def _host(t: Play, kind: HostKind) -> str:
    """How the client finds the server's machine, by name or number.

    Raises:
        Unsupported: it cannot find it that way.
    """
    host = t.server.puppet.running.host(t.client.puppet.running, kind)
    if host is None:
        raise Unsupported(f"no {_KINDS[kind]} is known by which {t.client.puppet.peer} finds {t.server.puppet.peer}")
    return host


_KINDS = {"name": "host name", "ipv4": "IPv4 address", "ipv6": "IPv6 address"}


async def _works(t: Play, address: object) -> None:
    """Check that a connection to this address carries a request."""
    conn = await t.client.connect(address)
    t.equal(await conn.request(["ping", "here"]), ["pong", "here"], "the first request over a new connection")


@case("open.tcp", transport="tcp", subject="client")
async def tcp_string(t: Play) -> None:
    """A client connects to "HOST:PORT"."""
    served = await t.serve()
    await _works(t, f"{served.address[1]}:{served.address[2]}")


@case("open.tcp", transport="tcp", subject="client")
async def tcp_list(t: Play) -> None:
    """A client connects to (tcp HOST PORT)."""
    await _works(t, (await t.serve()).address)


@case("open.tcp", transport="tcp", subject="client")
async def tcp_hostname_string(t: Play) -> None:
    """HOSTNAME in "HOSTNAME:PORT" may be a name, not only a number."""
    served = await t.serve()
    await _works(t, f"{_host(t, 'name')}:{served.address[2]}")


@case("open.tcp", transport="tcp", subject="client")
async def tcp_hostname_list(t: Play) -> None:
    """HOSTNAME in (tcp HOSTNAME PORT) may be a name, not only a number."""
    served = await t.serve()
    await _works(t, ("tcp", _host(t, "name"), served.address[2]))


@case("open.unix", transport="unix", subject="client")
async def unix_string(t: Play) -> None:
    """A client connects to "PATH/TO/SOCKET"."""
    await _works(t, (await t.serve()).address[1])


@case("open.unix", transport="unix", subject="client")
async def unix_list(t: Play) -> None:
    """A client connects to (unix "PATH/TO/SOCKET")."""
    await _works(t, (await t.serve()).address)


@case("profile.address-strings", transport="unix", subject="client")
async def unix_path_with_colon(t: Play) -> None:
    """A path that ends in a colon and digits is still a path, since it has a slash."""
    _, path = await t.server.new_address()
    served = await t.serve(address=("unix", f"{path}:80"))
    await _works(t, served.address[1])


@case("start.bind", "open.unix", transport="unix")
async def unix_path_of_any_bytes(t: Play) -> None:
    """A path with blanks, quotes, other scripts or any bytes is the path of that file, to bind and to connect to."""
    for more in (' a (b) "c"', "-é日", "-\udcff"):
        with t.trying(more):
            _, path = await t.server.new_address()
            served = await t.serve(address=("unix", path + more))
            t.equal(served.bound[1], path + more, "the path that `listen` tells")
            await _works(t, served.address)
            await _works(t, served.address[1])


@case("start.bind", transport="tcp", subject="server")
async def bind_tcp(t: Play) -> None:
    """A server bound to one address can be reached there, and at no other."""
    served = await t.serve()
    await _works(t, served.address)
    if served.bound[1] != "127.0.0.1" or served.address != served.bound:
        return  # in a container the other loopback addresses are out of reach
    await t.fails(
        t.client.connect(("tcp", "127.0.0.2", served.bound[2])),
        NetworkFailed,
        why="a server bound to 127.0.0.1 is reached at 127.0.0.2",
    )


@case("start.bind", transport="unix", subject="server")
async def bind_unix(t: Play) -> None:
    """A server bound to (unix PATH) can be reached by that path."""
    asked = await t.server.new_address()
    served = await t.serve(address=asked)
    t.equal(list(served.bound), list(asked), "the address that `listen` tells")
    await _works(t, served.address)


@case("start.bind-all", "profile.mapped", transport="tcp", subject="server")
async def bind_all(t: Play) -> None:
    """A server bound to #f can be reached at more than one address of its machine."""
    served = await t.serve(address=("tcp", None, (await t.server.new_address())[2]))
    await _works(t, served.address)
    if served.address[1] == "127.0.0.1" and served.address[2] == served.bound[2]:
        await _works(t, ("tcp", "127.0.0.2", served.address[2]))


@case("start.bind-all", "profile.mapped", transport="tcp", subject="server", needs=("ipv6",))
async def bind_all_ipv6(t: Play) -> None:
    """A server bound to #f can be reached by IPv6 as well, and the address of an IPv4 client is an IPv4 address."""
    host = _host(t, "ipv6")
    served = await t.serve(address=("tcp", None, (await t.server.new_address())[2]))
    await _works(t, ("tcp", host, served.bound[2]))
    first = await served.opened()
    await _works(t, served.address)
    second = await served.opened()
    client, server = t.client.puppet.running, t.server.puppet.running
    t.equal((await first.info())[1][1], client.source(server, "ipv6"), "the address of a client that came by IPv6")
    t.equal((await second.info())[1][1], client.source(server, "ipv4"), "the address of a client that came by IPv4")


@case("open.tcp", transport="tcp", needs=("ipv6",))
async def ipv6_list(t: Play) -> None:
    """(tcp "::1" PORT), or with another IPv6 address, works like any other address, to bind and to connect to."""
    host = _host(t, "ipv6")
    served = await t.server.listen(("tcp", host, (await t.server.new_address())[2]))
    await _works(t, ("tcp", host, served.bound[2]))


@case("profile.address-strings", "open.tcp", transport="tcp", subject="client", needs=("ipv6",))
async def ipv6_string(t: Play) -> None:
    """In the string form, an IPv6 address is in brackets: "[::1]:PORT"."""
    host = _host(t, "ipv6")
    served = await t.server.listen(("tcp", host, (await t.server.new_address())[2]))
    await _works(t, f"[{host}]:{served.bound[2]}")


@case("request.errors", "open.connection", transport="tcp", subject="client")
async def refused(t: Play) -> None:
    """Where nothing listens, connecting fails with a network error."""
    running = t.client.puppet.running
    _, host, _ = running.relay_address("tcp", t.new_name())
    # Not the address of a server that was stopped: a container engine would go on accepting for it.
    nobody = running.to_runner(("tcp", host, free_port(host)))
    await t.fails(t.client.connect(nobody), NetworkFailed, why="a connection to a port where nothing listens")


@case("open.tcp", "request.errors", transport="tcp", subject="client", timeout=30)
async def unknown_host(t: Play) -> None:
    """A host name that does not exist makes connecting fail with a network error."""
    for form in (("tcp", "no-such-host.invalid", 9), "no-such-host.invalid:9"):
        await t.fails(t.client.connect(form), NetworkFailed, why="a connection to a host that does not exist")


@case("open.unix", "request.errors", "profile.address-strings", transport="unix", subject="client")
async def no_such_path(t: Play) -> None:
    """Where the socket file does not exist, connecting fails with a network error."""
    running = t.client.puppet.running
    _, path = running.to_runner(running.relay_address("unix", t.new_name()))
    await t.fails(t.client.connect(("unix", path)), NetworkFailed, why="a connection to a path where nothing is")
    await t.fails(t.client.connect(path), NetworkFailed, why="a connection to a path where nothing is")
    for name in (t.new_name(), f"{t.new_name()}:", f"{t.new_name()}:port"):  # no port, so a path without a slash
        with t.trying(name):
            await t.fails(t.client.connect(name), NetworkFailed, why="a connection to a path where nothing is")


@case("open.unix", "request.errors", transport="unix", subject="client")
async def stale_path(t: Play) -> None:
    """A file that is not a listening socket makes connecting fail with a network error."""
    running = t.client.puppet.running
    address = running.relay_address("unix", t.new_name())
    file = Path(address[1])
    file.touch(0o666, exist_ok=False)
    try:
        await t.fails(
            t.client.connect(running.to_runner(address)),
            NetworkFailed,
            why="a connection to a file that is not a socket",
        )
    finally:
        file.unlink()


@case("start.bind", "open.unix", transport="unix")
async def longest_path(t: Play) -> None:
    """A server can be bound to the longest path that the system has room for, and is reached there."""
    short = await t.serve()
    _, path = await t.server.new_address()
    # In a container the same file has another path, which may be longer.
    more = max(0, len(short.address[1]) - len(short.bound[1]))
    longest = path + "x" * (LONGEST_PATH - more - len(path))
    served = await t.serve(address=("unix", longest))
    t.equal(served.bound[1], longest, "the path that `listen` tells")
    await _works(t, served.address)


@case("open.unix", "request.errors", transport="unix", subject="client")
async def long_path(t: Play) -> None:
    """A path that is too long for a socket is refused with an error, and does no harm."""
    path = "/tmp/" + "x" * 300  # noqa: S108 (nothing is made there)
    await t.fails(t.client.connect(("unix", path)), NetworkFailed, Invalid, why="a connection to a path too long")
    await _works(t, (await t.serve()).address)


@case("open.tcp", "open.unix", subject="client")
async def bad_address(t: Play) -> None:
    """An address that is in none of the documented forms is refused with an error, and does no harm."""
    served = await t.serve()
    for bad in ([Symbol("ipx"), "a", 1], [Symbol("tcp"), "localhost"], [Symbol("tcp"), "localhost", "no port"], 7, []):
        handle = t.client.puppet.new_handle()
        user, secret = ("alice", "x") if t.secure else (False, False)
        await t.fails(
            t.client.command("connect", handle, bad, user, secret),
            Invalid,
            NetworkFailed,
            why="a connection to something that is not an address",
        )
    await _works(t, served.address)


@case("profile.ports", "open.tcp", transport="tcp", subject="client")
async def port_too_large(t: Play) -> None:
    """A port above 65,535 is refused, and is not mistaken for the one that its last 16 bits name."""
    served = await t.serve()
    host, port = served.address[1:]
    for beyond in (65_536, 2**32):
        for address in (f"{host}:{port + beyond}", [Symbol("tcp"), host, port + beyond]):
            handle = t.client.puppet.new_handle()
            user, secret = (USER, PASSPHRASE) if t.secure else (False, False)
            await t.fails(
                t.client.command("connect", handle, address, user, secret),
                Invalid,
                NetworkFailed,
                why=f"a connection to the port {port + beyond}",
            )
    await _works(t, served.address)


@case("profile.ports", "start.bind", transport="tcp", subject="server")
async def port_to_bind_too_large(t: Play) -> None:
    """A server is not bound to a port above 65,535, nor to the one that its last 16 bits name."""
    served = await t.serve()
    # A port that was free a moment ago where the server is, which may be another machine.
    spare = await t.server.listen()
    await spare.stop()
    _, host, port = spare.bound
    for beyond in (65_536, 2**32):
        await t.fails(
            t.server.listen(("tcp", host, port + beyond)),
            Invalid,
            NetworkFailed,
            why=f"a server was bound to the port {port + beyond}",
        )
    await _works(t, served.address)


@case("profile.ports", "open.tcp", transport="tcp", subject="client")
async def last_port(t: Play) -> None:
    """The last port, 65,535, is a port like any other for a client: where nothing listens, that is a network error."""
    for address in (f"127.0.0.1:{_LAST}", ("tcp", "127.0.0.1", _LAST)):
        with _is_a_port():
            await (await t.client.connect(address)).close()


@case("profile.address-strings", transport="tcp", subject="client")
async def digits_make_a_port(t: Play) -> None:
    """Only digits after the last colon make a port: with a sign, a blank or a line below them the string is a path. Of
    the digits the first ones may be noughts."""
    served = await t.serve()
    host, port = served.address[1], str(served.address[2])
    for like in (f"+{port}", f" {port}", f"{port} ", f"{port[:2]}_{port[2:]}"):
        why = f"a connection to the path {host}:{like}"
        await t.fails(t.client.connect(f"{host}:{like}"), NetworkFailed, Invalid, why=why)
    await _works(t, f"{host}:000{port}")


@case("profile.ports", "start.bind", transport="tcp", subject="server")
async def last_port_to_bind(t: Play) -> None:
    """The last port, 65,535, is a port like any other for a server: it is bound, unless it is in use."""
    with _is_a_port():
        served = await t.server.listen(("tcp", "127.0.0.1", _LAST))
        t.equal(served.bound[2], _LAST, "the port that `listen` tells")
        await served.stop()


_LAST = 65_535


@contextlib.contextmanager
def _is_a_port() -> Iterator[None]:
    try:
        yield
    except NetworkFailed:
        pass  # nothing listens there, or something does already
    except Invalid as error:
        problem = f"the port {_LAST} was refused as if it were not one"
        raise Failure(problem, expected="an ok, or a network error", actual=error.message) from None


@case("start.bind", transport="tcp", subject="server")
async def address_in_use(t: Play) -> None:
    """A port that is in use cannot be bound a second time, and the server that uses it goes on."""
    served = await t.serve()
    await t.fails(t.server.listen(served.bound), NetworkFailed, Invalid, why="a port that is taken was bound again")
    await _works(t, served.address)


@case("guards.survives", "start.bind", transport="unix", subject="server")
async def socket_in_use(t: Play) -> None:
    """A second server cannot take over a Unix socket on which a server listens."""
    served = await t.serve()
    await t.fails(t.server.listen(served.bound), NetworkFailed, Invalid, why="a socket that is in use was bound again")
    await _works(t, served.address)


@case("start.server", "start.bind", transport="unix", subject="server")
async def failed_start(t: Play) -> None:
    """A start that fails since its socket is in use leaves the socket to the server that has it."""
    served = await t.serve()
    for _ in range(2):
        try:
            await t.server.listen(served.bound)
        except (NetworkFailed, Invalid):
            await _works(t, served.address)
        else:
            return  # it was taken over, which `socket_in_use` is about


@case("start.backlog", subject="server")
async def backlog(t: Play) -> None:
    """As many clients as the backlog holds, all at once, are all served; so are twice as many with a larger backlog."""
    for size, clients in ((10, 10), (50, 20)):
        served = await t.serve(backlog=size)
        conns = await asyncio.gather(*(t.client.connect(served.address) for _ in range(clients)))
        answers = await asyncio.gather(*(conn.request(["ping", str(i)]) for i, conn in enumerate(conns)))
        t.equal(answers, [["pong", str(i)] for i in range(clients)], f"the answers of {clients} clients at once")


@case("start.backlog", transport="unix", opponent="client", fresh=("server",), faults=("pause",), direct=False)
async def backlog_holds(t: Play) -> None:
    """While a server does not accept, the system holds as many connections for it as the backlog says."""
    held = {}
    running = t.server.puppet.running
    for size in (3, 12):
        served = await t.server.listen(backlog=size)
        await running.pause()
        try:
            waiting = fill_backlog(running.from_runner(served.bound)[1], 40)
            held[size] = len(waiting)
        finally:
            await running.resume()
        for sock in waiting:
            sock.close()
        t.check(
            held[size] >= size,
            f"a backlog of {size} does not hold {size} connections",
            expected=f"{size} or more",
            actual=str(held[size]),
        )
    t.check(
        held[3] < held[12],
        "the backlog that was asked for makes no difference",
        expected="more connections held with a backlog of 12 than of 3",
        actual=f"{held[12]} and {held[3]}",
    )
    await (await attack(t, await t.server.listen())).request(["echo", "and on"])


@case("start.open-handler", subject="server", direct=False)
async def several_clients(t: Play) -> None:
    """One server serves several connections, each with its own other end."""
    served = await t.serve()
    pairs = [await t.pair(served) for _ in range(4)]
    for index, (mine, theirs) in enumerate(pairs):
        t.equal(await mine.request(["echo", index]), index, "a request over one of several connections")
        t.equal(await theirs.request(["echo", -index]), -index, "a request back over one of several connections")
    await pairs[1][0].close()
    await pairs[1][1].closed()
    for index in (0, 2, 3):
        t.equal(await pairs[index][0].request(["echo", index]), index, "a request after another connection closed")


@case("start.server", subject="server")
async def two_servers(t: Play) -> None:
    """One program can run two servers; stopping one leaves the other."""
    one, two = await t.server.listen(), await t.server.listen()
    await _works(t, one.seen_from(t.client))
    await _works(t, two.seen_from(t.client))
    await one.stop()
    await _works(t, two.seen_from(t.client))


async def _asks(t: Play, served: Served, user: str | None, secret: str | None) -> tuple[Conn, Any]:
    """Ask, with this user and key, who one is: the connection, and the answer."""
    conn = await t.client.connect(served.seen_from(t.client), user, secret)
    return conn, await conn.request(["whoami"], timeout=PATIENCE)


@case("start.user-key", "start.insecure", "open.key", security="secure", needs=("insecure",))
async def servers_of_their_own(t: Play) -> None:
    """Each of a program's servers has its own users and keys, or none, whichever was started last; so has each
    connection."""
    tables = [{USER: PASSPHRASE}, None, {USER: "another"}, {"bob": PASSPHRASE}, None]
    servers = [(await t.server.listen(users=table), table) for table in tables]
    conns = []
    for served, table in (*servers, *servers):
        user, secret = next(iter(table.items())) if table else (None, None)
        conn, name = await _asks(t, served, user, secret)
        t.equal(name, user or False, "who a client of one of several servers is")
        conns.append(conn)
    why = "a client with the user, the key or the mode of another server was served"
    for served, table in servers:
        for user, secret in ((USER, PASSPHRASE), (USER, "another"), ("bob", PASSPHRASE)):
            if (user, secret) not in (table or {}).items():
                await t.fails(_asks(t, served, user, secret), NetworkFailed, why=why)
    for conn in conns:
        t.equal(await conn.request(["echo", "still"]), "still", "a request over a connection of one of several servers")


@case("stop-server", "open.connection", subject="server")
async def stop_leaves_own_connections(t: Play) -> None:
    """A program can be a server and a client of others; its server's stop leaves the connections that it has opened."""
    mine, others = await t.server.listen(), await t.client.listen()
    conn = await t.server.connect(others.seen_from(t.server))
    theirs = await others.opened()
    await _works(t, mine.seen_from(t.client))
    await mine.stop()
    await mine.wait(timeout=10)
    for each in (conn, theirs):
        t.equal(await each.request(["ping", "on"]), ["pong", "on"], "a request over a connection of another server")


@case("connection-addr", "profile.addresses", subject="client")
async def address_of_server(t: Play) -> None:
    """On the client, the address of the other end is the server's."""
    served = await t.serve()
    conn = await t.client.connect(served.address)
    t.equal(list((await conn.info())[1]), list(served.address), "connection-addr of the client's connection")


@case("profile.addresses", "connection-addr", transport="tcp", subject="client")
async def address_of_a_named_server(t: Play) -> None:
    """On the client, the address of a server that was found by its name is a number."""
    served = await t.serve()
    conn = await t.client.connect(("tcp", _host(t, "name"), served.address[2]))
    _, address = await conn.info()
    numeric = isinstance(address[1], str) and re.fullmatch(r"[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*", address[1])
    t.check(
        bool(numeric) and address[2] == served.address[2],
        "connection-addr of a connection to a named server",
        expected=f'(tcp "a number" {served.address[2]})',
        actual=show(list(address)),
    )


@case("connection-addr", "profile.addresses", subject="server", direct=False)
async def address_of_client(t: Play) -> None:
    """On the server, the address of the other end is the client's (of a Unix connection: the socket's path)."""
    served = await t.serve()
    await t.connect(served)
    conn = await served.opened()
    if t.transport == "unix":
        expected = list(served.bound)
    else:
        # The server's client is the relay, so the server must see the relay's end of the connection.
        link = await t.relay.link()
        expected = list(t.server.puppet.running.seen_from(("tcp", *link.upstream_name[:2])))
        if expected[2] == 0:  # a container engine is in between: only the host is known
            expected[2] = (await conn.info())[1][2]
            t.check(expected[2] > 0, "connection-addr of the server's connection", expected="a port", actual="0")
    t.equal(list((await conn.info())[1]), expected, "connection-addr of the server's connection")
    t.equal(list(canonical(conn.address)), expected, "the address that the open handler saw")


@case("open.connection", "open.returns", subject="either", direct=False)
async def opens_in_any_order(t: Play) -> None:
    """Connections that open and close again and again leave nothing behind that stops the next one."""
    served = await t.serve()
    for index in range(15):
        conn = await t.connect(served)
        t.equal(await conn.request(["echo", index]), index, f"the request of connection {index + 1}")
        await conn.close()
        await (await served.opened()).closed()


@case("about.rpc", "about.transports", "start.request-handler", direct=False)
async def rpc(t: Play) -> None:
    """A request goes out, the handler at the other end is applied to it, and its value comes back."""
    mine, _ = await t.pair()
    t.equal(await mine.request(["ping", "12345"]), ["pong", "12345"], "the documented demo's first request")
    await t.fails(mine.request("hello"), RemoteFailed, why="a request that the service does not know")


@case("start.open-handler", subject="server")
async def half_open_neighbour(t: Play) -> None:
    """A client that connects and sends nothing does not hold up anybody."""
    served = await t.serve()
    address = t.server.puppet.running.from_runner(served.bound)
    _, writer = await open_stream(address, follow=False)
    try:
        await t.within(5, _works(t, served.address), "a connection beside a silent one")
    finally:
        writer.close()
