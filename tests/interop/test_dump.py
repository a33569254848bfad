from __future__ import annotations

import json
from itertools import count
from pathlib import Path

from click.testing import CliRunner, Result

from bokbok.wire import INFERRED_1, Connection, passphrase_to_key
from bokbok_interop.cli import main
from bokbok_interop.dump import Conversation, explain, render
from bokbok_traffic.capture import Capture

SECRETS = {"alice": "her passphrase"}


def draws(seed: int):
    numbers = count(seed)
    return lambda size: bytes([next(numbers) % 256]) * size


def conversation(secure: bool) -> Capture:
    """A client asks, the server answers with an error, then with a value; the client's direction ends."""
    key = passphrase_to_key(SECRETS["alice"])
    capture = Capture("tcp")
    if secure:
        client = Connection("client", user="alice", key=key, draw=draws(1))
        server = Connection("server", secure=True, draw=draws(100))
    else:
        client, server = Connection("client"), Connection("server", secure=False)
    client.request(["fail", "x"])
    client.request(["echo", "hello"])
    data = client.data_to_send()
    capture.add(0.1, 1, "client", data[:11])
    capture.add(0.2, 1, "client", data[11:])
    server.receive(data)
    if secure:
        server.authenticate(key)
    server.fail(0, "it broke")
    server.respond(1, "hello")
    capture.add(0.3, 1, "server", server.data_to_send())
    capture.add(0.4, 1, "client", None)
    return capture


def test_an_insecure_conversation_is_taken_apart() -> None:
    found = Conversation(conversation(False), 1, INFERRED_1, {})
    assert not found.problem
    assert [(p.source, p.message) for p in found.packets if p.message] == [
        ("client", ("request", 0, ["fail", "x"])),
        ("client", ("request", 1, ["echo", "hello"])),
        ("server", ("error", 0, "it broke")),
        ("server", ("response", 1, "hello")),
    ]


def test_a_secure_conversation_opens_with_the_passphrase() -> None:
    found = Conversation(conversation(True), 1, INFERRED_1, SECRETS)
    assert not found.problem
    assert found.user == "alice"
    assert [p.title for p in found.packets] == [
        "hello: username",
        "hello: session key",
        "request 0",
        "request 1",
        "error 0",
        "response 1",
        "end of file",
    ]
    assert all(p.nonce and len(p.nonce) == 24 for p in found.packets[1:6])


def test_every_byte_belongs_to_a_range() -> None:
    capture = conversation(True)
    found = Conversation(capture, 1, INFERRED_1, SECRETS)
    for source in ("client", "server"):
        ranges = [r for p in found.packets if p.source == source for r in p.ranges if r.offset >= 0]
        assert b"".join(r.data for r in ranges) == capture.stream(1, source)
        at = 0
        for r in ranges:
            assert r.offset == at
            at += len(r.data)


def test_a_wrong_passphrase_is_a_problem_and_no_exception() -> None:
    found = Conversation(conversation(True), 1, INFERRED_1, {"alice": "wrong"})
    assert "does not open under any key" in found.problem
    assert found.user is None


def test_cut_off_bytes_are_shown_as_such() -> None:
    capture = conversation(False)
    capture.add(0.5, 1, "server", b"\x00\x00\x00\x09(resp")
    found = Conversation(capture, 1, INFERRED_1, {})
    assert "cut off" in found.problem
    assert found.packets[-1].ranges[-1].layer == "raw"


def test_garbage_is_shown_as_garbage() -> None:
    capture = Capture("unix")
    capture.add(0.0, 1, "client", b"GET / HTTP/1.1\r\n\r\n")
    text = render(explain(capture, INFERRED_1, SECRETS))
    assert "GET / HTTP/1.1" in text
    assert "!" in text


def test_the_dump_shows_layers_and_text_and_no_key() -> None:
    capture = conversation(True)
    text = render(explain(capture, INFERRED_1, SECRETS))
    for word in ("framing: length", 'hello: username "alice"', "nonce", "tag", "box", "opened", "not shown"):
        assert word in text
    assert 'says (request 1 ("echo" "hello"))' in text
    assert passphrase_to_key(SECRETS["alice"]).to_bytes().hex() not in text.replace(" ", "")


def test_decode_opens_a_recording_with_a_passphrase_file(tmp_path: Path) -> None:
    recording, secret = tmp_path / "c.jsonl", tmp_path / "secret"
    conversation(True).write(recording)
    secret.write_text(SECRETS["alice"] + "\n")
    secret.chmod(0o600)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["decode", str(recording), *words], catch_exceptions=False)

    opened = run("--user", "alice", "--passphrase-file", str(secret))
    assert opened.exit_code == 0
    assert 'says (request 1 ("echo" "hello"))' in opened.output
    assert SECRETS["alice"] not in opened.output
    assert json.loads(run("--user", "alice", "--passphrase-file", str(secret), "--json").output)[0]["from"] == "client"
    assert run().exit_code == 1  # without a key it is not an insecure conversation
    assert run("--user", "alice").exit_code == 2
    recording.write_text("nonsense\n")
    refused = run()
    assert refused.exit_code == 2
    assert "line 1, column 1: expected" in refused.output
