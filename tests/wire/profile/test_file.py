"""Profile files and their schema: both accept the same files."""

from __future__ import annotations

import dataclasses
import random
import sys
from typing import Any

import jsonschema
import pytest

from bokbok.errors import ProfileError
from bokbok.wire import INFERRED_1
from bokbok.wire.boxes import Counted
from bokbok.wire.framing import IntegerLength, Lines
from bokbok.wire.hello import Field, Template, TemplateHello
from bokbok.wire.messages import Shapes
from bokbok.wire.profile import LAYERS, dump_profile, profile_schema, read_profile
from tests.support.profiles import random_profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = profile_schema()


def is_valid(text: str) -> bool:
    return not list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(tomllib.loads(text)))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("seed", range(40))
def test_every_profile_stands_in_a_file_that_the_schema_takes(seed: int) -> None:
    profile = random_profile(random.Random(seed))
    text = dump_profile(profile)
    assert is_valid(text)
    assert read_profile(text) == profile


@pytest.mark.parametrize(
    "change",
    [
        {"hello_framing": Lines(b"\n"), "hello_framed": 1},
        {"framing": IntegerLength("u16-be", heads=(b"hello ", b"\x00msg"))},
        {"nonces": Counted("first", first="behind", server_base="first", key="front", zeros=16)},
        {"nonces": Counted(server=1 << 191)},
        {"messages": Shapes(id="string", id_prefix="id-", id_width=4, id_base=16, ending="\n")},
        {
            "hello": TemplateHello(
                (Template((b"\xff", Field("user", "u16-be"), Field("any", "raw", 4), Field("key", "blob"))),),
                Template((Field("key"), Field("user"))),
                insecure=(b"\x00",),
                preamble=b"BOKBOK\r\n",
                insecure_preamble=b"plain",
                max_username=32,
            )
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_rare_stands_in_a_file_too(change: dict[str, Any]) -> None:
    profile = dataclasses.replace(INFERRED_1, **change)
    text = dump_profile(profile)
    assert is_valid(text)
    assert read_profile(text) == profile


@pytest.mark.parametrize(
    "wrong",
    [
        'nme = "x"',
        'dialect = "chicken-6"',
        '[framing]\nstrategy = "length"\ninteger = "u24"',
        '[framing]\nstrategy = "length"\nwidth = 3',
        '[framing]\nstrategy = "pieces"',
        "[framing]\nown = true",
        '[nonces]\nstrategy = "sent"\nplace = "middle"',
        '[nonces]\nstrategy = "sent"\nzeros = -1',
        '[nonces]\nstrategy = "counted"\nchoose = 1',
        '[packets]\nencoding = "base32"',
        '[packets]\nclient = ["a", "b"]',
        '[hello]\npackets = [[{ user = "utf-16" }]]',
        "[hello]\npackets = [[{ any = 0 }]]",
        '[hello-framing]\nstrategy = "lines"\npackets = -1',
        '[messages]\nstrategy = "shapes"\nid = "ratnum"',
        '[messages]\nstrategy = "shapes"\nid-base = 8',
        '[key-derivation]\nname = "md5"',
    ],
)
def test_what_is_wrong_is_refused_by_the_reader_and_by_the_schema(wrong: str) -> None:
    text = f"bokbok-profile = 1\n{wrong}\n"
    with pytest.raises(ProfileError):
        read_profile(text)
    assert not is_valid(text)


def test_every_key_of_every_strategy_is_in_the_schema() -> None:
    for table, layer in LAYERS.items():
        forms = {form["properties"]["strategy"]["const"]: form for form in SCHEMA["properties"][table]["oneOf"]}
        assert set(forms) == set(layer.strategies)
        for name, made in layer.strategies.items():
            hidden = {"choose"}
            keys = {field.name.replace("_", "-") for field in dataclasses.fields(made)} - hidden  # type: ignore[arg-type]
            more = {"packets"} if table == "hello-framing" else set()
            assert keys | more | {"strategy"} == set(forms[name]["properties"])


def test_a_hello_framing_that_is_the_framing_is_left_out() -> None:
    profile = read_profile(
        'bokbok-profile = 1\n[framing]\nstrategy = "lines"\n[hello-framing]\nstrategy = "lines"\npackets = 1\n'
    )
    assert (profile.hello_framing, profile.hello_framed) == (None, 0)
