"""The egg's demo, server side, on an event loop: `demo_server.py` with `bokbok.asyncio`.

python demo_server_asyncio.py [ADDRESS [SECONDS]]
"""

import asyncio
import contextlib
import sys

from bokbok import ConnectionClosed, passphrase_to_key
from bokbok.asyncio import start_server


def user_to_key(user):
    """Stands for a database of users. It may be a coroutine function, like every handler."""
    return passphrase_to_key("mypassphrase") if user == "myuser" else None


async def on_open(connection):
    """Runs once for each connection, before its first request."""
    print(f"{connection.user} connected from {connection.address}", flush=True)


async def on_close(connection):
    """Runs when a client has closed its connection."""
    print(f"{connection.user} is gone", flush=True)


def serve(address, seconds=1.0):
    """Start the server. Await the result, or use it with `async with`."""
    tasks = set()  # the event loop alone does not keep a task alive

    async def call_back(connection):
        try:
            for number in ("1", "2", "3"):
                await asyncio.sleep(seconds)
                await connection.request(["callback", number])
        except ConnectionClosed as closed:
            print(f"no more callbacks: {closed}", flush=True)

    async def on_request(connection, request):
        """Runs in a task of its own for every request; what it returns is the answer."""
        if request[:1] == ["ping"]:
            return ["pong", *request[1:]]
        if request == ["asynch"]:
            task = asyncio.create_task(call_back(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return True
        raise ValueError("Unrecognised request")

    return start_server(address, on_request, user_to_key=user_to_key, on_open=on_open, on_close=on_close)


async def main(address="127.0.0.1:4444", seconds="1"):
    """Serve until Ctrl-C."""
    async with serve(address, float(seconds)) as server:
        print(f"listening at {server.address}", flush=True)
        try:
            await server.wait()
        except asyncio.CancelledError:  # Ctrl-C
            print("stopping", flush=True)
            raise


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
