"""A forked process: what it inherits is over in it and goes on in its parent; what it makes itself works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PRELUDE = """
import asyncio, os, sys, threading, warnings
import bokbok
from bokbok import ConnectionClosed, open_connection, passphrase_to_key, start_server

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork of a process with threads
KEY = passphrase_to_key("fork")
folder = sys.argv[1]

def in_child(function):
    child = os.fork()
    if not child:
        try:
            function()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def run(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PRELUDE + script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert (done.returncode, done.stderr) == (0, "")


SETUP = """
server = start_server(folder + "/parent", lambda connection, message: message, user_to_key=lambda _: KEY)
connection = open_connection(server.address, "user", KEY)
for number in range(300):  # threads, and a watch, are there
    assert connection.request(number) == number
"""


def test_a_connection_is_over_in_a_child_and_goes_on_in_its_parent(tmp_path: Path) -> None:
    run(
        SETUP
        + """
def child():
    assert connection.closed
    assert "forked" in connection.close_reason
    try:
        connection.request(1)
    except ConnectionClosed as error:
        assert error.reason == connection.close_reason
    else:
        raise AssertionError("the child may ask")
    connection.close()

in_child(child)
assert connection.request(2) == 2
""",
        tmp_path,
    )


def test_a_server_is_stopped_in_a_child_and_goes_on_in_its_parent(tmp_path: Path) -> None:
    run(
        SETUP
        + """
def child():
    with server:
        pass
    assert server.wait(0)

in_child(child)
assert os.path.exists(folder + "/parent")
with open_connection(server.address, "user", KEY) as another:
    assert another.request(2) == 2
""",
        tmp_path,
    )


def test_a_child_may_have_connections_and_servers_of_its_own(tmp_path: Path) -> None:
    run(
        SETUP
        + """
def child():
    with open_connection(server.address, "user", KEY) as own:
        for number in range(300):
            assert own.request(number, timeout=50) == number
    with start_server(folder + "/child", lambda connection, message: ["child", message]) as own_server:
        with open_connection(own_server.address) as own:
            threads = [threading.Thread(target=own.request, args=(n,), kwargs={"timeout": 50}) for n in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert own.request(1, timeout=50) == ["child", 1]

for _ in range(3):
    in_child(child)
""",
        tmp_path,
    )


def test_a_child_that_is_forked_in_the_middle_of_everything_does_not_hang(tmp_path: Path) -> None:
    run(
        SETUP
        + """
def lively():
    while not over.is_set():
        connection.request("x")

over = threading.Event()
threads = [threading.Thread(target=lively) for _ in range(8)]
for thread in threads:
    thread.start()

def child():
    connection.close()
    with server:
        pass
    with open_connection(server.address, "user", KEY) as own:
        assert own.request("mine", timeout=50) == "mine"

for _ in range(20):
    in_child(child)
over.set()
for thread in threads:
    thread.join()
""",
        tmp_path,
    )


def test_a_connection_of_an_event_loop_is_over_in_a_child_and_goes_on_in_its_parent(tmp_path: Path) -> None:
    run(
        """
import bokbok.asyncio

async def main():
    async def echo(connection, message):
        return message

    async with bokbok.asyncio.start_server(folder + "/parent", echo, user_to_key=lambda _: KEY) as server:
        async with bokbok.asyncio.open_connection(server.address, "user", KEY) as connection:
            assert await connection.request(1) == 1

            def child():
                try:
                    connection.request(2).send(None)
                except ConnectionClosed as error:
                    assert "forked" in error.reason
                else:
                    raise AssertionError("the child may ask")

            in_child(child)
            assert await connection.request(3) == 3

asyncio.run(main())
""",
        tmp_path,
    )


def test_a_child_of_an_event_loop_keeps_neither_its_connections_nor_its_port(tmp_path: Path) -> None:
    run(
        """
import socket
import bokbok.asyncio

async def main():
    server = await bokbok.asyncio.start_server(("tcp", "127.0.0.1", 0), lambda connection, message: message)
    peer = socket.create_connection(server.address[1:])
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(peer, b"\\0\\0\\0\\x0d(request 0 x)")
    assert await loop.sock_recv(peer, 100) == b"\\0\\0\\0\\x0e(response 0 x)"

    ends, end = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        os.read(ends, 1)  # until the parent is done
        os._exit(0)
    await server.stop()
    assert await server.wait(10)
    while await asyncio.wait_for(loop.sock_recv(peer, 100), 10):
        pass
    peer.close()
    again = await bokbok.asyncio.start_server(server.address)
    await again.stop()
    os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

asyncio.run(main())
""",
        tmp_path,
    )
