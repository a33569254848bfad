"""What is logged, and what never is."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from bokbok import Limits
from bokbok._front.failures import MOST_FAILURES
from bokbok.errors import ConnectionClosed, RemoteError
from bokbok.wire import passphrase_to_key
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, framed, hello

WRONG = passphrase_to_key("a wrong passphrase")


def fail(connection: Any, message: Any) -> Any:
    raise ValueError("on purpose")


def test_a_failing_request_handler_is_logged_with_its_traceback(
    front: Any, serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RemoteError):
        connect(serve(fail)).request("x")
    (record,) = caplog.records
    assert (record.name, record.levelno) == (f"bokbok.{front.name}", logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_a_remote_error_that_a_handler_lets_through_is_logged_where_it_passes(
    front: Any, serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda connection, message: connection.request(message))
    with pytest.raises(RemoteError):
        connect(server, on_request=fail).request("x")
    assert [record.name for record in caplog.records] == [f"bokbok.{front.name}"] * 2


def test_a_failure_whose_text_no_file_can_hold_is_logged_with_that_escaped(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def on_request(connection: Any, message: Any) -> Any:
        raise ValueError("on purpose: \udcff €")

    with pytest.raises(RemoteError):
        connect(serve(on_request)).request("x")
    (record,) = caplog.records
    written = logging.Formatter().format(record).encode()
    assert b"the request handler failed" in written
    assert "ValueError: on purpose: \\udcff €".encode() in written


def test_a_client_cannot_fill_the_log_with_handlers_that_fail(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(serve(fail))
    for _ in range(MOST_FAILURES + 10):
        with pytest.raises(RemoteError, match="on purpose"):
            connection.request("x")
    assert caplog.text.count("Traceback") == MOST_FAILURES
    assert "more of this kind are not told" in caplog.records[-1].getMessage()


def test_a_server_cannot_fill_the_log_of_a_client(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    def on_request(connection: Any, message: Any) -> Any:
        for _ in range(MOST_FAILURES + 10):
            with pytest.raises(RemoteError, match="on purpose"):
                connection.request("x")
        return "done"

    assert connect(serve(on_request), on_request=fail).request("x") == "done"
    assert caplog.text.count("Traceback") == MOST_FAILURES


def test_a_handler_whose_connection_ends_while_it_waits_for_an_answer_has_not_failed(
    serve: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    peer = raw(serve(lambda connection, message: connection.request(message)))
    count = MOST_FAILURES + 10
    peer.send(b"".join(framed(b"(request %d x)" % number) for number in range(count)))
    for _ in range(count):
        peer.receive()
    peer.close()
    ended = "a request handler ended with its connection"
    eventually(lambda: caplog.text.count(ended) == MOST_FAILURES, "as many as that are told")
    assert all(record.levelno == logging.INFO and not record.exc_info for record in caplog.records)


def test_who_is_refused_is_logged_with_the_reason(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(user_to_key=USERS.get)
    with pytest.raises(ConnectionClosed):
        connect(server, "myuser", WRONG).request("x")
    eventually(lambda: caplog.records, "the refusal is logged")
    assert caplog.records[0].levelno == logging.WARNING
    assert "the hello does not open" in caplog.text


def test_a_hello_that_does_not_come_is_logged(serve: Any, raw: Any, caplog: pytest.LogCaptureFixture) -> None:
    peer = raw(serve(user_to_key=USERS.get, limits=Limits(hello_timeout=0.01)))
    assert peer.read_to_end() == b""
    assert "no hello came within 0.01 s" in caplog.text


def test_nothing_is_logged_where_nothing_goes_wrong(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture, address: Any
) -> None:
    server = serve(at=address, user_to_key=USERS.get, on_open=lambda connection: None, on_close=lambda connection: None)
    connection = connect(server, secure=True)
    assert connection.request("x") == "x"
    connection.close()
    connect(server, secure=True).request("x")
    server.stop()
    assert server.wait(SOON)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_what_a_peer_sends_cannot_forge_lines_of_the_log(
    serve: Any, raw: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "\nERROR\x1b[31m\r\0\x9b\u2028"
    caplog.set_level(logging.DEBUG)
    server = serve(user_to_key={evil: KEY}.get)
    for body in (
        f"(request 0 {evil}#<{evil}>)",
        f"({evil.replace(chr(0), '')} 0 x)",
        f"|{evil}|",
        f"(request |{evil}| x)",
        f"(response 0 {evil}",
        f'(error 0 "{evil}',
    ):
        peer = raw(server)
        peer.say_hello(evil, KEY)
        peer.send_message(body.encode())
        peer.finish()
        peer.read_to_end()
    peer = raw(server)
    peer.send(hello(evil, WRONG, bytes(32)))
    peer.read_to_end()
    insecure = serve()
    for body in (f"({evil} 0 x)", f"(request 0 #<{evil}"):
        peer = raw(insecure)
        peer.send(framed(body.encode()))
        peer.finish()
        peer.read_to_end()
    for record in caplog.records:
        text = record.getMessage()
        assert not set(text) & set("\n\r\x1b\0\x9b\u2028"), text
    assert len(caplog.records) >= 8


def test_secrets_are_in_no_log_repr_or_traceback(
    serve: Any, connect: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def user_to_key(user: str) -> Any:
        if user == "raises":
            raise LookupError(user)
        return {"myuser": KEY, "garbage": KEY.to_bytes()}.get(user)

    def on_request(connection: Any, message: Any) -> Any:
        seen.extend((repr(connection), repr(server)))
        raise ValueError("on purpose")

    server = serve(on_request, user_to_key=user_to_key)
    for user, key in (("myuser", KEY), ("myuser", WRONG), ("garbage", KEY), ("raises", KEY), ("nobody", KEY)):
        connection = connect(server, user, key)
        with pytest.raises((RemoteError, ConnectionClosed)) as raised:
            connection.request("x")
        seen += [repr(connection), "".join(traceback.format_exception(raised.value))]
    peer = raw(server)
    data = peer.say_hello("myuser", KEY)
    peer.send(framed(b"x" * 50))
    peer.read_to_end()
    peer = raw(server)
    peer.send(data)
    peer.read_to_end()
    seen.append(caplog.text)
    everything = "\n".join(seen)
    for secret in (KEY.to_bytes(), WRONG.to_bytes()):
        for form in (secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1]):
            assert form not in everything
    assert "passphrase" not in everything
