"""pyzmq with CURVE as a contestant: the same cryptography in C, with its own threads, and msgpack as the codec.

python curve.py serve
python curve.py ask CELL ADDRESS

Server and client are blocking loops, without futures or tasks: the fastest way to use pyzmq.
"""

from __future__ import annotations

import json
import sys
import time

import msgpack
import steered
import zmq
from cell import read

# Keys for this benchmark only. The server's keys are fixed, so that its client knows the public one.
SERVER = (b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")


def serve() -> None:
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.curve_secretkey, socket.curve_publickey = SERVER[1], SERVER[0]
    socket.curve_server = True
    socket.bind("tcp://127.0.0.1:*")
    steered.serving(json.dumps(socket.last_endpoint.decode()))
    receive, send, packb, unpackb = socket.recv_multipart, socket.send_multipart, msgpack.packb, msgpack.unpackb
    while True:
        who, request = receive()
        id, datum = unpackb(request)
        send((who, packb((id, datum))))


def ask(cell_text: str, server: str) -> None:
    cell = read(cell_text)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_serverkey = SERVER[0]
    socket.connect(json.loads(server))
    receive, send, packb, unpackb = socket.recv, socket.send, msgpack.packb, msgpack.unpackb
    clock, datum = time.perf_counter, cell.datum

    def run(seconds: float) -> tuple[int, float]:
        start, done = clock(), 0
        end = start + seconds
        for id in range(cell.in_flight):
            send(packb((id, datum)))
        sent = cell.in_flight
        while done < sent:
            unpackb(receive())
            done += 1
            if clock() < end:
                send(packb((sent, datum)))
                sent += 1
        return done, clock() - start

    steered.ask(run)
    socket.close(0)


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
