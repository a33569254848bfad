"""The egg's demo in Python (`examples/`): every client with every server, as documented."""

import asyncio
import importlib.util
import pathlib
import queue
import signal
import subprocess
import sys
import threading

import pytest

import bokbok
import bokbok.asyncio
from tests.support.pages import blocks, commands

FOLDER = pathlib.Path(__file__).parents[2] / "examples"
_, (_, CLIENT_PRINTS) = (
    next(commands(block.text)) for block in blocks((FOLDER / "README.md").read_text(encoding="utf-8"))
)
KEY = bokbok.passphrase_to_key("mypassphrase")


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Log:
    """The output of an example, line by line."""

    def __init__(self, module):
        self._lines = queue.SimpleQueue()
        module.print = lambda *words, flush: self._lines.put(" ".join(map(str, words)))

    def take(self):
        return self._lines.get(timeout=30)

    def empty(self):
        return self._lines.empty()


@pytest.fixture(params=["demo_server", "demo_server_asyncio"])
def server(request, tmp_path):
    """A running demo server without pauses between its callbacks: its address and its output."""
    module = load(request.param)
    log = Log(module)
    path = str(tmp_path / "s")
    if request.param == "demo_server":
        with module.serve(path, 0):
            yield path, log
        return
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def run():
        async with module.serve(path, 0):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait()
    yield path, log
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture(params=["demo_client", "demo_client_asyncio"])
def client(request):
    """A function that runs a demo client, with another waiting time, and returns its output."""
    module = load(request.param)
    log = Log(module)

    def run(address, wait):
        slept = []

        def sleep(seconds):
            slept.append(seconds)
            wait()

        async def sleep_awaited(seconds):
            slept.append(seconds)
            await asyncio.get_running_loop().run_in_executor(None, wait)

        if request.param == "demo_client":
            module.sleep = sleep
            module.main(address)
        else:
            module.sleep = sleep_awaited
            asyncio.run(module.main(address))
        assert slept == [10]

    return run, log


def test_the_documented_conversation(server, client):
    address, served = server
    run, printed = client
    shown = []

    def wait():
        shown.extend(printed.take() for _ in range(5))

    run(address, wait)
    pong, true, *callbacks = CLIENT_PRINTS
    assert shown.pop(0) == pong
    shown.remove(true)  # the answer; the first callback may overtake it if there is no pause
    assert shown == callbacks
    assert served.take() == f"myuser connected from ('unix', '{address}')"
    # The client closes as soon as it has printed the last callback, so that its answer to that may not be sent.
    ends = {served.take()}
    if ends != {"myuser is gone"}:
        ends.add(served.take())
    assert ends - {"no more callbacks: the other end closed the connection"} == {"myuser is gone"}
    assert printed.empty()


def test_a_client_that_closes_early_ends_the_callbacks_and_nothing_else(server, client):
    address, served = server
    run, _ = client
    run(address, lambda: None)
    said = set()
    while not any("is gone" in line for line in said):
        said.add(served.take())
    with bokbok.open_connection(address, "myuser", KEY) as connection:
        assert connection.request(["ping", "x"]) == ["pong", "x"]


def test_the_server_refuses_what_it_does_not_know(server):
    address, _ = server
    with bokbok.open_connection(address, "myuser", KEY) as connection:
        for request in (["nothing"], "ping", 5):
            with pytest.raises(bokbok.RemoteError):
                connection.request(request)
    with (
        bokbok.open_connection(address, "eve", KEY) as connection,
        pytest.raises(bokbok.ConnectionClosed, match="possible causes"),
    ):
        connection.request(["ping", "x"])


def test_the_client_refuses_other_callbacks_and_answers_with_the_unspecified_value(client, tmp_path):
    run, printed = client
    seen = queue.SimpleQueue()

    def on_request(connection, request):
        if request == ["asynch"]:
            seen.put(connection.request(["callback", "7"]))
            with pytest.raises(bokbok.RemoteError, match="Unrecognised callback") as raised:
                connection.request(["something else"])
            seen.put(raised.value)
        return request

    with bokbok.start_server(str(tmp_path / "s"), on_request, user_to_key={"myuser": KEY}.get) as server:
        run(server.address, lambda: None)
    assert seen.get() == []
    assert isinstance(seen.get(), bokbok.RemoteError)
    assert [printed.take() for _ in range(3)] == ["['ping', '12345']", "callback 7", "['asynch']"]


def test_the_client_says_so_when_the_server_closes(client, tmp_path):
    run, printed = client
    connections = queue.SimpleQueue()
    with bokbok.start_server(
        str(tmp_path / "s"), lambda c, m: m, user_to_key={"myuser": KEY}.get, on_open=connections.put
    ) as server:

        def wait():
            connections.get().close()
            assert [printed.take() for _ in range(3)][-1] == "the server closed the connection"

        run(server.address, wait)


@pytest.mark.parametrize("server_script", ["demo_server.py", "demo_server_asyncio.py"])
def test_they_run_as_scripts(server_script, tmp_path):
    address = str(tmp_path / "s")
    with subprocess.Popen(
        [sys.executable, FOLDER / server_script, address, "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout.readline() == f"listening at ('unix', '{address}')\n"
            for script in ("demo_client.py", "demo_client_asyncio.py"):
                done = subprocess.run([sys.executable, FOLDER / script, address, "0"], capture_output=True, text=True)
                assert (done.returncode, done.stderr) == (0, "")
                assert done.stdout.startswith("['pong', '12345']\n")
                assert "True" in done.stdout  # perhaps on the line of a callback, since two threads print
            server.send_signal(signal.SIGINT)
            out, err = server.communicate()
        finally:
            server.kill()
    assert (server.returncode, err) == (0, "")
    assert "stopping" in out
