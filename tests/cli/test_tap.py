from __future__ import annotations

import contextlib
import json
import signal
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from bokbok import open_connection, passphrase_to_key, start_server
from bokbok.service import handler
from bokbok.wire import Connection, get_profile
from bokbok_interop.tap import Teller
from bokbok_traffic.capture import read_capture
from tests.traffic.test_pcap import conversation, ipv4, pcap

USER, PASSPHRASE = "alice", "her passphrase"
LE = '[framing]\nstrategy = "length"\ninteger = "u32-le"\n'


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "pass"
    path.write_text(PASSPHRASE)
    path.chmod(0o600)
    return path


@pytest.fixture
def le(tmp_path: Path) -> Path:
    path = tmp_path / "le.toml"
    path.write_text(f'bokbok-profile = 1\nname = "le"\n{LE}')
    return path


@pytest.fixture
def tapped(started: Any, tmp_path: Path) -> Any:
    """Start a tap in front of a server. Returns its process, and the address at which it listens."""

    def start(server: Any, *options: Any) -> tuple[Any, str]:
        process = started("tap", str(tmp_path / "tap"), server.address[1], *map(str, options))
        return process, process.stdout.readline().decode().strip()

    return start


def served(tmp_path: Path, secure: bool = True, profile: Any = None) -> Any:
    keys = {USER: passphrase_to_key(PASSPHRASE, profile=profile)}
    return start_server(str(tmp_path / "server"), handler(), user_to_key=keys.get if secure else None, profile=profile)


def ended(process: Any, number: int = signal.SIGTERM) -> tuple[str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return out.decode(), err.decode()


def read_until(process: Any, word: bytes) -> bytes:
    """The tap's output up to a word. It comes while the conversation goes on."""
    data = b""
    while word not in data:
        line = process.stdout.readline()
        assert line, data
        data += line
    return data


def test_a_secure_conversation_is_told_while_it_goes_on(tapped, secret, tmp_path) -> None:
    with served(tmp_path) as server:
        process, address = tapped(server, "--user", USER, "--passphrase-file", secret)
        with open_connection(address, USER, passphrase_to_key(PASSPHRASE)) as connection:
            assert connection.request(["echo", "hello"]) == "hello"
            told = read_until(process, b"(response 0")
        out, _ = ended(process)
    assert b'hello: username "alice"' in told
    assert b'says (request 0 ("echo" "hello"))' in told
    assert "end of file" in out
    assert process.returncode == 0


def test_without_the_secret_boxes_stay_closed_and_pass(tapped, tmp_path) -> None:
    with served(tmp_path) as server:
        process, address = tapped(server, "--brief")
        with open_connection(address, USER, passphrase_to_key(PASSPHRASE)) as connection:
            assert connection.request(["echo", "hello"]) == "hello"
        out, _ = ended(process)
    assert "cannot be opened: the session key is not known" in out
    assert "hello" in out
    assert "echo" not in out


def test_another_profile_is_read_with_its_file(tapped, le, tmp_path) -> None:
    profile = get_profile(le)
    with served(tmp_path, False, profile) as server:
        process, address = tapped(server, "--profile", le, "--json")
        with open_connection(address, profile=profile) as connection:
            connection.request(["ping", "1"])
            told = read_until(process, b"response 0")
        ended(process)
    packets = [json.loads(line) for line in told.splitlines()]
    assert [packet["title"] for packet in packets] == ["request 0", "response 0"]
    assert packets[0]["ranges"][0]["hex"] == "18000000"
    assert packets[0]["problem"] == ""


def test_the_recording_beside_it_is_the_conversation(tapped, secret, tmp_path, bokbok) -> None:
    recording = tmp_path / "said.jsonl"
    with served(tmp_path) as server:
        process, address = tapped(server, "--record", recording)
        for word in ("one", "two"):
            with open_connection(address, USER, passphrase_to_key(PASSPHRASE)) as connection:
                assert connection.request(["echo", word]) == word
        ended(process)
    assert stat.S_IMODE(recording.stat().st_mode) == 0o600
    with recording.open() as lines:
        assert read_capture(lines).connections() == [1, 2]
    told = bokbok("decode", recording, "--user", USER, "--passphrase-file", secret)
    assert told.status == 0
    assert b'says (response 0 "one")' in told.out
    assert b'says (response 0 "two")' in told.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_its_socket_is_gone(number, tapped, tmp_path) -> None:
    with served(tmp_path, secure=False) as server:
        process, address = tapped(server)
        ended(process, number)
    assert process.returncode == 0
    assert not Path(address).exists()


def test_a_server_that_cannot_be_reached_ends_the_connection_and_is_named(started, tmp_path) -> None:
    process = started("tap", str(tmp_path / "tap"), str(tmp_path / "nobody"))
    address = process.stdout.readline().decode().strip()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        assert client.recv(1) == b""
    _, err = ended(process)
    assert "nobody cannot be reached: No such file or directory" in err


def test_a_reader_that_has_gone_ends_it_as_other_commands(tapped, tmp_path) -> None:
    with served(tmp_path, secure=False) as server:
        process, address = tapped(server)
        process.stdout.close()
        with contextlib.suppress(ConnectionError), open_connection(address) as connection:
            connection.request(["ping", "1"])
        assert process.wait(60) == 141


def test_a_reader_that_does_not_read_holds_nobody_up(tapped, tmp_path) -> None:
    with served(tmp_path, secure=False) as server:
        process, address = tapped(server)
        with open_connection(address) as connection:
            for _ in range(30):  # much more than a pipe holds
                assert connection.request(["echo", "x" * 20_000]) == "x" * 20_000
        out, _ = ended(process)
    assert out.count("says (response") == 30


def test_packets_that_cannot_be_told_in_time_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(Teller, "MOST", 2)
    reads, told = threading.Event(), []

    def show(packet: dict[str, Any]) -> None:
        reads.wait()
        told.append(packet["t"])

    teller = Teller(show, lambda error: None)
    for number in range(10):
        teller.tell({"t": number})
    reads.set()
    assert teller.finish(60)
    assert len(told) + teller.dropped == 10
    assert teller.dropped >= 7
    assert told == sorted(told)


def said() -> tuple[bytes, bytes]:
    client, server = Connection("client"), Connection("server")
    client.request(["ping", "1"])
    request = client.data_to_send()
    server.receive(request)
    server.respond(0, "pong")
    return request, server.data_to_send()


def captured(client: bytes, server: bytes) -> bytes:
    return pcap([ipv4(segment) for segment in conversation(client, server)])


def test_a_packet_capture_comes_from_standard_input(started) -> None:
    process = started("tap", "-", "--brief")
    out, err = process.communicate(captured(*said()), timeout=60)
    assert 'request 0 says (request 0 ("ping" "1"))' in out.decode()
    assert 'response 0 says (response 0 "pong")' in out.decode()
    assert process.returncode == 0, err


def test_a_packet_capture_is_told_as_it_comes(started) -> None:
    process = started("tap", "-", "--brief")
    data = captured(*said())
    process.stdin.write(data[:-40])
    process.stdin.flush()
    assert b"request 0" in read_until(process, b"request 0")
    process.communicate(data[-40:], timeout=60)
    assert process.returncode == 0


def test_what_of_a_packet_capture_does_not_fit_is_a_status(started) -> None:
    process = started("tap", "-", "--brief")
    out, _ = process.communicate(captured(b"GET / HTTP/1.1\r\n", b""), timeout=60)
    assert b"! a packet of" in out
    assert process.returncode == 1


def test_a_capture_without_a_connection_is_said(started) -> None:
    process = started("tap", "-")
    _, err = process.communicate(pcap([]), timeout=60)
    assert b"no TCP connection in it" in err
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-", "x"], "Give no TARGET with -"),
        (["x"], "Give a TARGET"),
        (["a", "b", "--server", ":1"], "--server is for packet captures"),
        (["-", "--server", "/x"], "expected HOST:PORT"),
        (["::1:x", "b", "--key-file", "k"], "needs a --user"),
        (["-", "--user", "u", "--passphrase-file", "-"], "Standard input is the packet capture"),
    ],
)
def test_wrong_arguments_are_named(bokbok, arguments, expected) -> None:
    result = bokbok("tap", *arguments)
    assert result.status == 2
    assert expected in result.err


def test_a_recording_that_cannot_be_written_is_said_before_anybody_is_let_in(bokbok, tmp_path) -> None:
    result = bokbok("tap", tmp_path / "tap", tmp_path / "server", "--record", tmp_path / "no" / "such")
    assert result.status == 7
    assert "cannot be written: No such file or directory" in result.err
