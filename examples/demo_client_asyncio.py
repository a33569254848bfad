"""The egg's demo, client side, on an event loop: `demo_client.py` with `bokbok.asyncio`.

python demo_client_asyncio.py [ADDRESS [SECONDS]]
"""

import asyncio
import sys
from asyncio import sleep

from bokbok import passphrase_to_key
from bokbok.asyncio import open_connection


async def on_request(connection, request):
    """Runs in a task of its own for every request from the server. `None` travels as `()`."""
    if request[:1] != ["callback"]:
        raise ValueError("Unrecognised callback")
    print("callback", request[1], flush=True)


async def on_close(connection):
    """Runs when the connection ends, unless this end closed it."""
    print("the server closed the connection", flush=True)


async def main(address="127.0.0.1:4444", seconds="10"):
    """Ping, be called back, wait, close."""
    key = passphrase_to_key("mypassphrase")
    async with open_connection(address, "myuser", key, on_request, on_close) as connection:
        print(await connection.request(["ping", "12345"]), flush=True)
        print(await connection.request(["asynch"]), flush=True)
        await sleep(float(seconds))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
