"""Frozen dataclasses made without compiling behave as the standard library's."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any, ClassVar

import pytest

from bokbok import _dataclass


def _made(decorator: Any) -> tuple[Any, Any]:
    """The same two classes, one deriving from the other, by a decorator."""

    @decorator(frozen=True, kw_only=True)
    class Base:
        """A base."""

        step: int = 1

    @decorator(frozen=True)
    class Made(Base):
        """A class with a field of each sort."""

        kind: ClassVar[str] = "made"
        name: str
        size: int = dataclasses.field(default=3, metadata={"unit": "byte"})
        parts: list[int] = dataclasses.field(default_factory=list, compare=False)
        secret: str = dataclasses.field(default="s", repr=False)
        code: int = dataclasses.field(init=False, repr=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "code", self.size + self.step)

    return Base, Made


PLAIN, OURS = _made(dataclasses.dataclass), _made(_dataclass.dataclass)


@dataclasses.dataclass(frozen=True)
class Derived(OURS[1]):  # type: ignore[misc]
    """What a user's own strategy is: a class of the standard library's that derives from one of ours."""

    more: int = 7


@_dataclass.dataclass(frozen=True)
class Known:
    """Has a name of this module, so that it pickles."""

    a: int
    b: str = "b"


def outcome(function: Any) -> Any:
    """What a function returns, or the error that it raises, with its text."""
    try:
        return function()
    except Exception as error:
        return type(error), str(error)


CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    (("x",), {}),
    (("x", 5), {"step": 2}),
    ((), {"name": "x", "parts": [1]}),
    ((), {"step": 9, "size": 0, "name": "y", "secret": ""}),
    ((), {}),
    ((), {"size": 1}),
    (("x",), {"name": "y"}),
    (("x",), {"other": 1}),
    (("x",), {"code": 1}),
    (("x", 1, [], "s", 5), {}),
    (("x", 1, [], "s", 5, 6), {"other": 1}),
)


@pytest.mark.parametrize(("given", "named"), CALLS)
def test_it_takes_and_refuses_the_same_arguments_with_the_same_texts(
    given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    def seen(cls: Any) -> Any:
        made = cls(*given, **named)
        return repr(made), vars(made), list(vars(made)), made.code, hash(made) == hash(cls(*given, **named))

    assert outcome(lambda: seen(OURS[1])) == outcome(lambda: seen(PLAIN[1]))


def test_it_is_compared_by_the_same_fields() -> None:
    for cls in (PLAIN[1], OURS[1]):
        assert cls("x") == cls("x", parts=[1]) != cls("y")
        assert cls("x") != cls("x", step=2)
        assert hash(cls("x")) == hash(cls("x", parts=[1]))
        assert cls("x").__eq__(1) is NotImplemented


@pytest.mark.parametrize("name", ["name", "step", "code", "other"])
def test_it_cannot_be_changed(name: str) -> None:
    for change in (lambda cls: setattr(cls("x"), name, 1), lambda cls: delattr(cls("x"), name)):
        assert outcome(lambda: change(OURS[1])) == outcome(lambda: change(PLAIN[1]))  # noqa: B023
        with pytest.raises(dataclasses.FrozenInstanceError):
            change(OURS[1])


def test_a_plain_subclass_may_have_attributes_of_its_own() -> None:
    class Plain(OURS[1]):  # type: ignore[misc]
        pass

    made = Plain("x")
    made.other = 1
    del made.other
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "y"


def test_its_fields_are_the_same() -> None:
    def shown(cls: Any) -> list[Any]:
        return [(f.name, f.type, f.default, f.init, f.repr, f.compare, f.kw_only, f.metadata) for f in fields(cls)]

    fields: Any = dataclasses.fields
    assert shown(OURS[1]) == shown(PLAIN[1])
    assert shown(OURS[0]) == shown(PLAIN[0])
    assert OURS[1].__match_args__ == PLAIN[1].__match_args__
    assert OURS[1].size == PLAIN[1].size == 3
    assert not hasattr(OURS[1], "name")
    assert not hasattr(OURS[1], "parts")
    assert str(OURS[1].__dataclass_params__) == str(PLAIN[1].__dataclass_params__)


def test_it_has_the_same_signature() -> None:
    assert inspect.signature(OURS[1]) == inspect.signature(PLAIN[1])
    assert inspect.signature(Derived) == inspect.signature(
        dataclasses.dataclass(frozen=True)(
            type("Derived", (PLAIN[1],), {"__annotations__": {"more": "int"}, "more": 7})
        )
    )

    class Own(OURS[1]):  # type: ignore[misc]
        def __init__(self, one: int) -> None:
            pass

    assert list(inspect.signature(Own).parameters) == ["one"]


def test_the_standard_library_replaces_lists_and_copies_it() -> None:
    for cls in (PLAIN[1], OURS[1]):
        made = dataclasses.replace(cls("x"), size=4)
        assert (made.size, made.code) == (4, 5)
        assert dataclasses.asdict(made) == {
            "step": 1, "name": "x", "size": 4, "parts": [], "secret": "s", "code": 5,
        }  # fmt: skip
        assert copy.copy(made) == made
    for changes in ({"code": 4}, {"other": 1}):
        refused = [outcome(lambda: dataclasses.replace(cls("x"), **changes)) for cls in (PLAIN[1], OURS[1])]  # noqa: B023
        assert refused[0] == refused[1]
    if hasattr(copy, "replace"):
        assert copy.replace(OURS[1]("x"), size=4) == OURS[1]("x", 4)
    assert pickle.loads(pickle.dumps(Known(1))) == Known(1)
    match Known(1):
        case Known(a, b):
            assert (a, b) == (1, "b")


def test_a_dataclass_of_the_standard_library_derives_from_it() -> None:
    made = Derived("x", more=8)
    assert (made.code, made.more, made.kind) == (4, 8, "made")
    assert repr(made) == "Derived(step=1, name='x', size=3, parts=[], more=8)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.more = 9
    with pytest.raises(TypeError, match="non-frozen"):
        dataclasses.dataclass(type("Thawed", (OURS[1],), {"__annotations__": {}}))
