"""`bokbok.wire.hello`: templates, and the hellos made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.wire import Closed, Connection, HelloReceived, Opened, Profile
from bokbok.wire.boxes import Counted
from bokbok.wire.hello import Field, Template, TemplateHello
from bokbok.wire.profile import dump_profile, read_profile
from tests.support.peers import KEY

USER, BOX = Field("user"), Field("key")
TEMPLATES = [
    Template((USER,)),
    Template((b"hello ", USER)),
    Template((USER, BOX)),
    Template((b"(", Field("user", "string"), b" ", Field("key", "blob"), b")")),
    Template((Field("user", "u8"), BOX)),
    Template((Field("user", "nul"), BOX, b"end")),
    Template((USER, b"\n", Field("key", "hex"), b"\n")),
    Template((USER, Field("key", "blob"))),
    Template((Field("any", size=8), USER, Field("nonce", "base64"))),
    Template((Field("user", "hex"), b"|", Field("any", size=2))),
]


@pytest.mark.parametrize("template", TEMPLATES, ids=repr)
@settings(max_examples=30)
@given(user=st.binary(min_size=1, max_size=30), box=st.binary(min_size=72, max_size=72))
def test_what_is_written_is_taken_apart_again(template: Template, user: bytes, box: bytes) -> None:
    for mark in (b"\n", b"|", b"#${", b"\0"):
        user = user.replace(mark, b"")
    user = user or b"u"
    values = {"user": user, "key": box, "nonce": bytes(24), "any": b"12345678"[: 2 if template is TEMPLATES[-1] else 8]}
    data = template.write(values)
    assert len(data) <= template.longest({"user": len(user), "key": 72, "nonce": 24})
    got = template.read(data, {"key": 72, "nonce": 24})
    assert got == {name: values[name] for name in template.fields()}


@pytest.mark.parametrize("template", TEMPLATES, ids=repr)
@settings(max_examples=30)
@given(data=st.binary(max_size=100))
def test_anything_else_is_a_protocol_error(template: Template, data: bytes) -> None:
    try:
        values = template.read(data, {"key": 72, "nonce": 24})
    except RemoteProtocolError:
        return
    assert values.keys() == template.fields()


def test_bytes_of_no_meaning_are_random_when_written() -> None:
    template = Template((Field("any", size=16),))
    assert template.write({}) != template.write({})
    assert len(template.write({})) == 16


@pytest.mark.parametrize(
    ("template", "data", "problem"),
    [
        (TEMPLATES[1], b"hallo me", "the packet has b'hallo ' at byte 0; expected b'hello '"),
        (TEMPLATES[3], b'("me" x)', "the packet: key: expected blob literal at byte 6"),
        (TEMPLATES[5], b"me\0" + bytes(72) + b"end!", "the packet has 1 bytes at byte 78; expected its end"),
        (TEMPLATES[5], b"me\0" + bytes(72) + b"en", "the packet has b'en' at byte 75; expected b'end'"),
        (TEMPLATES[4], b"\2me" + bytes(71), "the packet: key: expected 75 bytes or more; got 74"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(template: Template, data: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError, match=problem):
        template.read(data, {"key": 72})


# Hellos.


def profile(*packets: Template, **options: Any) -> Profile:
    return Profile("mine", hello=TemplateHello(packets, **options))


HELLOS = [
    profile(Template((USER,)), Template((BOX,))),
    profile(Template((Field("user", "u8"), BOX))),
    profile(Template((b"(hello ", Field("user", "string"), b" ", Field("key", "blob"), b")"))),
    profile(Template((b"BOKBOK", b"\1")), Template((USER,)), Template((BOX,))),
    profile(Template((USER,)), Template((BOX,)), content=Template((Field("key"), Field("any", size=8)))),
    profile(Template((USER,)), Template((BOX,)), content=Template((Field("key", "blob"),))),
]


@pytest.mark.parametrize("profile", HELLOS, ids=range(len(HELLOS)))
@pytest.mark.parametrize("user", ["me", "", "u" * 255])
def test_a_hello_of_any_form_opens(profile: Profile, user: str) -> None:
    client = Connection("client", user=user, key=KEY, profile=profile)
    id = client.request("early")
    server = Connection("server", secure=True, profile=profile)
    (event,) = server.receive(client.data_to_send())
    assert event == HelloReceived(user)
    opened, request = server.authenticate(KEY)
    assert opened == Opened(user)
    assert (request.id, request.message) == (id, "early")


def test_a_username_that_is_too_long_is_refused_whatever_its_form() -> None:
    long = profile(Template((Field("user", "hex"), b" ", BOX)), max_username=10)
    with pytest.raises(ValueError, match="expected 10 at most"):
        Connection("client", user="u" * 11, key=KEY, profile=long)
    data = Connection("client", user="u" * 11, key=KEY, profile=profile(*long.hello.packets)).data_to_send()  # type: ignore[attr-defined]
    (event,) = Connection("server", secure=True, profile=long).receive(data)
    assert isinstance(event, Closed)


@pytest.mark.parametrize(
    ("template", "user"),
    [
        (Template((Field("user", "nul"), BOX)), "al\0ice"),
        (Template((Field("user", "nul"), BOX)), "alice\0"),
    ],
)
def test_a_username_that_would_read_as_another_is_refused(template: Template, user: str) -> None:
    with pytest.raises(ValueError, match="this username cannot be sent in the form <user: nul>"):
        Connection("client", user=user, key=KEY, profile=profile(template))


def test_a_username_whose_form_may_be_longer_than_its_bytes_is_measured_in_bytes() -> None:
    escaped = profile(Template((Field("user", "string-hex"), BOX)), max_username=4)
    server = Connection("server", secure=True, profile=escaped)
    client = Connection("client", user="abcde", key=KEY, profile=profile(Template((Field("user", "string-hex"), BOX))))
    (event,) = server.receive(client.data_to_send())
    assert isinstance(event, Closed)
    assert event.error.reason == "the username has 5 bytes; expected 4 at most"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_session_key_has_32_bytes(size: int) -> None:
    listed = TemplateHello((Template((USER,)), Template((BOX,))), content=Template((Field("key", "u8vector"),)))
    server = listed.server()
    server.receive(b"me")
    assert server.receive(bytes(80))
    with pytest.raises(RemoteProtocolError, match=f"the session key has {size} bytes; expected 32"):
        server.session_key(lambda box: b"#u8(" + b"0 " * size + b")")


def test_a_hello_may_carry_the_base_of_the_nonces() -> None:
    plain = (Template((USER,)), Template((Field("key", "blob"),)))
    front, behind = Template((Field("nonce"), BOX)), Template((BOX, Field("any", size=3), Field("nonce")))
    for hello in (
        TemplateHello((Template((USER, b"\n", Field("nonce"))), Template((BOX,)))),
        TemplateHello(plain, content=Template((Field("key"), Field("nonce")))),
        TemplateHello(plain, key_field=front),
        TemplateHello(plain, key_field=behind),
        TemplateHello((Template((USER,)), Template((BOX,))), key_field=behind),
    ):
        carrying = Profile("base", hello=hello, nonces=Counted("hello", client=1, server=0, step=2, key="front"))
        assert read_profile(dump_profile(carrying)).hello == hello
        assert carrying.leaks is None
        client = Connection("client", user="me", key=KEY, profile=carrying)
        server = Connection("server", secure=True, profile=carrying)
        client.request("x")
        server.receive(client.data_to_send())
        opened, request = server.authenticate(KEY)
        assert isinstance(opened, Opened)
        server.respond(request.id, "y")
        (answer,) = client.receive(server.data_to_send())
        assert answer.message == "y"  # type: ignore[union-attr]


def test_a_hello_says_what_its_bytes_are_where_more_than_a_box_is_encoded_as_one() -> None:
    hello = TemplateHello((Template((USER,)), Template((b"k", BOX))), key_field=Template((BOX, Field("nonce"))))
    packet = b"k" + bytes(72) + bytes(24)
    assert hello.spans(1, packet, 40, 24) == [("literal", 0, 1), ("key", 1, 73), ("nonce", 73, 97)]


def test_what_is_encoded_as_the_session_key_holds_its_box() -> None:
    for wrong in (Template((Field("nonce"),)), Template((USER, BOX))):
        with pytest.raises(BokbokError, match="key-field: expected the field key"):
            TemplateHello(key_field=wrong)


@pytest.mark.parametrize(
    ("packets", "content"),
    [
        ((Template((USER,)),), Template((BOX,))),
        ((Template((USER, USER)), Template((BOX,))), Template((BOX,))),
        ((Template((Field("name"), USER, BOX)),), Template((BOX,))),
        ((Template((USER, BOX)),), Template((b"no key",))),
    ],
)
def test_a_hello_that_cannot_be_is_refused(packets: Any, content: Any) -> None:
    with pytest.raises(
        BokbokError,
        match=r"packets: expected (the fields user and key once each|a list)|content: expected the field key",
    ):
        TemplateHello(packets, content=content)
