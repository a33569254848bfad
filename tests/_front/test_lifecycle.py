"""`bokbok._front.lifecycle`: which handler runs when, and how a connection ends, without a socket."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bokbok import Limits
from bokbok._front.lifecycle import Lifecycle, checked_key, remote_error
from bokbok._front.settings import Settings
from bokbok.errors import ConnectionClosed, ProfileError, RemoteError, UnreadableAnswer
from bokbok.wire import INFERRED_1, AnswerUnreadable, Closed, ErrorReceived, HelloReceived, Opened
from bokbok.wire.boxes import Sent
from tests.support.peers import KEY, framed


def handler(*args: Any) -> None:
    """Can be anything: these objects never call it."""


def life_of(**options: Any) -> Lifecycle[str]:
    """The life of a connection that a server has accepted; insecure by default."""
    settings = Settings(**options)
    return Lifecycle(settings.server_protocol(), settings)


def test_the_open_handler_is_called_once_and_requests_wait_for_it() -> None:
    life = life_of(on_request=handler, on_open=handler)
    assert life.open()
    assert not life.open()
    assert life.take_request(0, "x")
    assert life.admission.start() is None
    assert not life.open_handler_returned()
    assert life.admission.start() == (0, "x")


def test_without_an_open_handler_requests_start_at_once() -> None:
    life = life_of(on_request=handler)
    assert not life.open()
    assert life.was_open
    assert life.take_request(0, "x")
    assert life.admission.start() == (0, "x")


def test_the_end_fails_who_waits_and_calls_the_close_handler_once() -> None:
    life = life_of(on_close=handler)
    life.open()
    life.waiters.update({0: "first", 1: "second"})
    assert life.announce_end() == (["first", "second"], True)
    assert life.announce_end() == ([], False)


def test_the_close_handler_waits_for_the_open_handler() -> None:
    life = life_of(on_open=handler, on_close=handler)
    life.open()
    assert life.announce_end() == ([], False)
    assert life.open_handler_returned()


@pytest.mark.parametrize("why", ["never open", "asked", "drained", "no handler"])
def test_the_close_handler_is_not_called_for_an_end_that(why: str) -> None:
    life = life_of(on_close=None if why == "no handler" else handler)
    if why != "never open":
        life.open()
    if why == "asked":
        assert life.ask_to_close().reason == "closed by this end"
    if why == "drained":
        life.drain()
    assert life.announce_end() == ([], False)


def test_a_connection_ends_once_and_keeps_its_first_reason() -> None:
    life = life_of()
    life.wire.close("the first")
    error = life.end(ConnectionClosed("the second"))
    assert error is not None
    assert error.reason == "the first"
    assert life.ended
    assert life.end(ConnectionClosed("the third")) is None


def test_after_the_other_ends_end_the_connection_closes_once_its_last_handler_has_finished() -> None:
    life = life_of(on_request=handler)
    life.open()
    assert life.idle() is None
    life.wire.receive(framed(b"(request 0 x)"))
    life.take_request(0, "x")
    life.admission.start()
    life.wire.receive_eof()
    assert life.idle() is None
    assert life.answer(0, "x") is None
    life.admission.finish()
    ending = life.idle()
    assert ending is not None
    assert (ending.error.reason, ending.linger) == ("the other end closed the connection", False)


def test_a_drained_connection_answers_what_waits_with_an_error_and_lingers_at_its_end() -> None:
    life = life_of(on_request=handler, limits=Limits(running=1))
    life.open()
    for id in (0, 1):
        life.wire.receive(framed(b"(request %d x)" % id))
        assert life.take_request(id, "x")
    life.admission.start()
    assert life.drain() is None
    assert life.wire.data_to_send() == framed(b'(error 1 "the server is stopping and takes no new requests")')
    assert life.idle() is None
    life.admission.finish()
    ending = life.idle()
    assert ending is not None
    assert (ending.error.reason, ending.linger) == ("the server was stopped", True)


def test_a_connection_whose_hello_has_not_come_is_ended_at_once_by_a_stop() -> None:
    ending = life_of(user_to_key=handler).drain()
    assert ending is not None
    assert (ending.error.reason, ending.linger) == ("the server was stopped", False)


def test_a_request_is_refused_where_there_is_no_handler() -> None:
    life = life_of()
    life.open()
    life.wire.receive(framed(b"(request 0 x)"))
    assert not life.take_request(0, "x")
    assert b"takes no requests: it has no request handler" in life.wire.data_to_send()
    assert not life.admission.ready


def test_an_answer_that_fails_while_it_is_written_is_an_error() -> None:
    class Broken(list[Any]):
        def __iter__(self) -> Any:
            raise ZeroDivisionError("on purpose")

    life = life_of(on_request=handler)
    life.open()
    life.wire.receive(framed(b"(request 0 x)"))
    life.answer(0, Broken([1]))
    assert b"(error 0 " in life.wire.data_to_send()


def test_unsent_answers_have_a_bound() -> None:
    life = life_of(limits=Limits(unsent=10))
    assert life.too_much_unsent(10) is None
    ending = life.too_much_unsent(11)
    assert ending is not None
    assert ending.error.reason == (
        "the other end sends requests and does not read its answers: 11 bytes wait, and the limit is 10"
    )


def test_a_forked_child_has_nothing_to_announce() -> None:
    life = life_of(on_close=handler)
    life.open()
    life.waiters[0] = "somebody"
    life.forked()
    assert life.ended
    assert life.announce_end() == ([], False)
    assert life.wire.state == "closed"


def test_a_look_up_gives_a_key_or_none_and_nothing_else() -> None:
    assert checked_key(KEY, 1) is KEY
    assert checked_key(None, 1) is None
    assert checked_key([KEY, KEY], 2) == [KEY, KEY]
    with pytest.raises(ValueError, match="user_to_key returned 2 keys; the limit keys_per_user is 1"):
        checked_key((KEY, KEY), 1)
    with pytest.raises(
        TypeError, match="user_to_key returned a str, expected a Key, a list of keys, or None"
    ) as raised:
        checked_key("mypassphrase", 1)
    assert "mypassphrase" not in str(raised.value)


def test_answers_that_are_none_are_remote_errors() -> None:
    assert type(remote_error(ErrorReceived(0, "on purpose"))) is RemoteError
    unreadable = remote_error(AnswerUnreadable(0, "no datum"))
    assert type(unreadable) is UnreadableAnswer
    assert unreadable.message == "the answer cannot be read: no datum"


def test_a_hello_is_a_replay_on_any_connection_of_the_server() -> None:
    settings = Settings(user_to_key=handler)
    hello = Settings().client_protocol("myuser", KEY).data_to_send()
    outcomes = []
    for _ in range(2):
        protocol = settings.server_protocol()
        assert [type(event) for event in protocol.receive(hello)] == [HelloReceived]
        outcomes.append([type(event) for event in protocol.authenticate(KEY)])
    assert outcomes == [[Opened], [Closed]]


def test_a_secure_server_refuses_a_profile_that_gives_secrets_away() -> None:
    leaking = dataclasses.replace(INFERRED_1, name="leaking", nonces=Sent(key="zero"))
    Settings(profile=leaking).check_cryptography()
    with pytest.raises(ProfileError):
        Settings(profile=leaking, user_to_key=handler).check_cryptography()
