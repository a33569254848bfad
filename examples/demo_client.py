"""The egg's demo, client side: a ping, and three callbacks from the server over the same connection.

    python demo_client.py [ADDRESS [SECONDS]]

SECONDS is how long it waits for callbacks, 10 if not given. The server may be `demo_server.py`,
`demo_server_asyncio.py`, or the same demo in Scheme (`chicken-reference/examples`).
"""

import sys
from time import sleep

from bokbok import open_connection, passphrase_to_key


def on_request(connection, request):
    """Runs in a thread of its own for every request from the server. `None` travels as `()`."""
    if request[:1] != ["callback"]:
        raise ValueError("Unrecognised callback")
    print("callback", request[1], flush=True)


def on_close(connection):
    """Runs when the connection ends, unless this end closed it."""
    print("the server closed the connection", flush=True)


def main(address="127.0.0.1:4444", seconds="10"):
    """Ping, be called back, wait, close."""
    key = passphrase_to_key("mypassphrase")
    with open_connection(address, "myuser", key, on_request, on_close) as connection:
        print(connection.request(["ping", "12345"]), flush=True)
        print(connection.request(["asynch"]), flush=True)
        sleep(float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
