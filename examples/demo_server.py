"""The egg's demo, server side: answers pings, and calls the client back when asked to.

    python demo_server.py [ADDRESS [SECONDS]]

SECONDS is the time between callbacks, 1 if not given. Stop it with Ctrl-C. The client may be `demo_client.py`,
`demo_client_asyncio.py`, or the same demo in Scheme (`chicken-reference/examples`).
"""

import sys
import threading
import time

from bokbok import ConnectionClosed, passphrase_to_key, start_server


def user_to_key(user):
    """Stands for a database of users."""
    return passphrase_to_key("mypassphrase") if user == "myuser" else None


def on_open(connection):
    """Runs once for each connection, before its first request."""
    print(f"{connection.user} connected from {connection.address}", flush=True)


def on_close(connection):
    """Runs when a client has closed its connection."""
    print(f"{connection.user} is gone", flush=True)


def serve(address, seconds=1.0):
    """Start the server."""

    def call_back(connection):
        try:
            for number in ("1", "2", "3"):
                time.sleep(seconds)
                connection.request(["callback", number])
        except ConnectionClosed as closed:
            print(f"no more callbacks: {closed}", flush=True)

    def on_request(connection, request):
        """Runs in a thread of its own for every request; what it returns is the answer."""
        if request[:1] == ["ping"]:
            return ["pong", *request[1:]]
        if request == ["asynch"]:
            threading.Thread(target=call_back, args=(connection,)).start()
            return True
        raise ValueError("Unrecognised request")

    return start_server(address, on_request, user_to_key=user_to_key, on_open=on_open, on_close=on_close)


def main(address="127.0.0.1:4444", seconds="1"):
    """Serve until Ctrl-C."""
    with serve(address, float(seconds)) as server:
        print(f"listening at {server.address}", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            print("stopping", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
