"""What a server asks about a hello before it lets it in: its user's keys, and whether others have seen it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any, cast

from .. import wire
from .._front import texts
from .._front.lifecycle import Lifecycle, checked_key
from .._front.logs import Log
from .._front.settings import AsyncSharedHellos, Settings
from ..keys import Key
from .handling import OF_THE_LOOP

__all__ = ["look_up", "refusal"]

_log = Log("bokbok.asyncio")


async def look_up(settings: Settings, user: str) -> tuple[Key | Sequence[Key] | None, BaseException | None]:
    """A user's key, or keys; `None` with the reason if the look-up has failed."""
    assert settings.user_to_key is not None
    try:
        found = settings.user_to_key(user)
        found = await found if inspect.isawaitable(found) else found
        return checked_key(found, settings.limits.keys_per_user), None
    except OF_THE_LOOP:
        raise
    except BaseException as error:
        return None, error


async def refusal(life: Lifecycle[Any], hello: wire.HelloOpened, connection: object) -> str | None:
    """Why a hello is refused that has opened; `None` if no other server or process has seen it.

    Args:
        life: the connection's.
        hello: what has come.
        connection: what the log calls it.
    """
    memory = cast("AsyncSharedHellos | None", life.settings.shared_hellos)
    visit = life.visit
    try:
        if memory is not None and life.settings.guards.hello_replay and not await memory.remember(hello.digest):
            return wire.REPLAYED_HELLO
        asked = visit.proved(hello) if visit is not None else None
        if asked is None or visit is None or visit.known(await asyncio.wrap_future(asked)):
            return None
        return wire.REPLAYED_HELLO
    except Exception as error:
        life.failed(_log, texts.HELLOS_FAILED, connection, error=error)
        return texts.NOT_REMEMBERED
