"""A bridge stands between peers that speak different profiles or have different security, and forwards between them.

This module knows how two connections are joined: which request there belongs to which one here, what happens to a datum
that one of the two sides cannot hold, and which side waits for the other. Each of the two is a connection of
`bokbok.asyncio`, with a `wire.Connection` of its own; no request handler runs here, and no task waits for an answer.

**Back-pressure.** What has come on one side is written to the other at once, so nothing waits between the two but what
the other side's transport has not sent yet. While there is any of that, the first side is not read. This cannot cause a
deadlock: what is not read could not have been written, since requests and answers all take that same path. So a bridge
holds, for each direction of a pair, what one read has brought (256 KiB, or the one packet that it completes), as it is
written on the other side.

**Long messages** are written in a thread, so that other pairs are served meanwhile. What comes behind one waits for it.

**The end.** An end of file is handed on as one, behind what came before it. So both peers see what they would see of
each other: the waiting requests of the one that is told fail at once, handlers that run go on, and their answers still
come.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from . import wire
from ._front.admission import STOPPING, error_text
from ._front.logs import DEBUG, WARNING, Log
from ._front.settings import Settings
from ._front.shared import Visit
from ._sockets import DEFAULT_BACKLOG, DEFAULT_CONNECT_TIMEOUT, Listener, listen, seconds
from .address import Address, AddressLike, format_address, parse_address
from .asyncio.connection import OTHER_LEG, Connection, KeyLookup
from .asyncio.opening import reach
from .asyncio.server import Server, Starting
from .errors import BokbokError, ConnectionClosed, RemoteProtocolError, WriteError
from .keys import Key

__all__ = ["Bridge", "Login", "start_bridge"]

_log = Log("bokbok.bridge")

Login = tuple[str, Key]
"""A login at the target: a username and its key there."""
LoginLookup = Callable[[str | None], Login | Awaitable[Login | None] | None]
"""`user_to_login(user) -> (user, key) | None`: a plain function or a coroutine function."""

_ORDINARY_END = "the other end closed the connection"
_WRITING = 16
"""Why nothing is read from a leg's transport, beside the reasons of `asyncio.connection`: a long message is written."""


class _Written:
    """A long message as it was written for a connection, or why it cannot be."""

    def __init__(self, connection: wire.Connection, message: Any) -> None:
        self._text = b""
        self._problem: WriteError | None = None
        try:
            self._text = connection.encode(message)
        except WriteError as error:
            self._problem = error

    def text(self) -> bytes:
        """What was written.

        Raises:
            WriteError: it cannot be.
        """
        if self._problem is not None:
            raise self._problem
        return self._text


class _Leg(Connection):
    """One of the two connections of a pair. What comes on it goes to the other one."""

    def __init__(
        self,
        bridge: Bridge,
        side: str,
        protocol: wire.Connection,
        settings: Settings,
        server: Server | None = None,
        visit: Visit | None = None,
    ) -> None:
        super().__init__(protocol, settings, server, visit)
        self._bridge = bridge
        self._side = side
        self._dialect = settings.profile.dialect
        self._most = settings.limits.running + settings.limits.waiting
        self._other: _Leg | None = None
        self._asked: dict[int, int] = {}
        """Requests that were written here and are not answered yet: the ID here, and the one at the other leg."""
        self._early: list[wire.Plain] | None = []
        """What has come before the other leg was there; `None` once it is."""
        self._behind: list[wire.Plain] | None = None
        """What has come behind a long message that is being written; `None` while none is."""
        self._reaching: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        place = format_address(self._address) if self._address is not None else "not connected"
        user = f" as {self.user!r}" if self.user is not None else ""
        return f"<bridge's {self._side} {place}{user}>"

    # The beginning.

    def _opened(self) -> None:
        if (ending := self._life.admit(self)) is not None:
            self._linger()
            self._end(ending.error)
            return
        self._life.open()
        if self._other is not None:  # this is the target's
            self._other._join()
            return
        self._loop.call_soon(self._wait_for_other)  # not at once: a transport may be about to begin to read
        self._reaching = self._loop.create_task(self._reach_target())
        self._handling.keep(self._reaching)

    def _wait_for_other(self) -> None:
        if self._early is not None and not self._life.ended:
            self._stop_reading(OTHER_LEG)

    async def _reach_target(self) -> None:
        bridge = self._bridge
        try:
            login = await bridge._log_in(self.user)
            user, key = login if login is not None else (None, None)
            settings = bridge._target_settings
            target = self._other = _Leg(bridge, "target", settings.client_protocol(user, key), settings)
            target._other = self
            await reach(target, bridge.target, bridge._connect_timeout)
        except asyncio.CancelledError:
            if not self._life.ended:
                raise
            return
        except Exception as error:
            unexpected = None if isinstance(error, (BokbokError, ValueError)) else error
            self._warn("%r: not connected to the target: %s", self, error_text(error), error=unexpected)
            self._lingering = True
            self._end(ConnectionClosed("the bridge could not connect to its target"))
            return
        finally:
            self._reaching = None
        # So that a bridge which is waited for waits for both.
        await asyncio.shield(target._transport_closed)

    def _join(self) -> None:
        """The other leg is there: hand on what has come meanwhile, and read on."""
        target = self._other
        assert target is not None
        early, self._early, target._early = self._early or [], None, None
        _log.debug("%r: joined to %r", self, target)
        self._take_in(early)
        if not target._sending.full:
            self._read_on(OTHER_LEG)

    # What comes.

    def _take_in_alone(self, message: wire.Read | RemoteProtocolError) -> bool:
        return False  # no handler is run for it here: `_take_in` hands it on

    def _take_in(self, events: list[wire.Plain]) -> None:
        other = self._other
        for event in events:
            kind = type(event)
            if self._behind is not None:
                self._behind.append(event)
            elif kind in _ANSWERED_HERE:
                super()._take_in([event])
            elif self._early is not None:
                self._early.append(event)
            elif other is None or self._life.ended:
                return
            elif type(event) is tuple:
                if event[0] == wire.REQUEST:
                    self._hand_on_request(other, event[1], event[2])
                else:
                    self._hand_on_answer(other, cast(wire.ResponseReceived, wire.as_event(event)))
            elif kind is wire.PeerFinished:
                event = cast(wire.PeerFinished, event)
                self._hand_on_end(other, event.error)
            else:
                self._hand_on_answer(other, cast(_Answer, event))
        if other is not None and not self._life.ended:
            other._sending.flush()
            self._sending.flush()
            self._settle()

    def _hand_on_request(self, other: _Leg, id: int, message: Any) -> None:
        if self._closing and not (other._side == "client" and self._asked):
            # As at a server that stops; but what runs may ask back.
            self._refuse_request(id, STOPPING)
        elif len(other._asked) >= self._most:
            self._refuse_request(id, f"too many requests: {len(other._asked)} wait for their answers")
        else:
            try:
                if type(message) is _Written:
                    there = other._wire.request(message.text(), encoded=True)
                else:
                    there = other._wire.request(message, brief=True)
            except wire.TakesLong:
                self._write(other, message, lambda written: self._hand_on_request(other, id, written))
            except WriteError as error:
                text = f"{other._cannot_take('request')}: {error}"
                self._warn("%r: %s", self, text)
                self._refuse_request(id, text)
            except ConnectionClosed as error:
                # The other peer sends no more. This one has been told, and gets nothing more: but the request is over.
                self._refuse_request(id, error.reason)
            else:
                other._asked[there] = id

    def _refuse_request(self, id: int, text: str) -> None:
        self._wire.fail(id, text)
        self._check_unsent()

    def _hand_on_answer(self, other: _Leg, event: _Answer) -> None:
        there = self._asked.pop(event.id, None)
        if there is None or other._wire.state == "closed":
            return
        if type(event) is wire.ResponseReceived:
            self._answer_there(other, there, event.message)
        elif type(event) is wire.ErrorReceived:
            other._wire.fail(there, event.message)
        else:
            assert type(event) is wire.AnswerUnreadable
            other._wire.fail(there, f"the answer cannot be read: {event.problem}")

    def _answer_there(self, other: _Leg, there: int, message: Any) -> None:
        refusal = other._cannot_take("answer")
        try:
            if type(message) is _Written:
                problem = other._wire.respond(there, message.text(), encoded=True, refusal=refusal)
            else:
                problem = other._wire.respond(there, message, brief=True, refusal=refusal)
        except wire.TakesLong:
            self._write(other, message, lambda written: self._answer_there(other, there, written))
            return
        except WriteError as error:
            problem = error
            other._wire.fail(there, f"{refusal}: {problem}")
        if problem is not None:
            self._warn("%r: %s: %s", self, refusal, problem)

    def _warn(self, text: str, *args: object, error: BaseException | None = None) -> None:
        self._life.failed(_log, text, *args, error=error, level=WARNING)

    def _write(self, other: _Leg, message: Any, go_on: Callable[[_Written], None]) -> None:
        """Write a long message for the other leg, in a thread, then go on with it, and with what has come behind it."""

        async def write() -> None:
            written = await asyncio.to_thread(_Written, other._wire, message)
            behind, self._behind = self._behind, None
            if behind is None or self._life.ended or other._wire.state == "closed":
                return
            go_on(written)
            self._read_on(_WRITING)
            self._take_in(behind)

        self._behind = []
        self._stop_reading(_WRITING)
        self._handling.start(write())

    def _cannot_take(self, what: str) -> str:
        return f"the bridge cannot write the {what} to the {self._side} in {self._dialect}"

    # Back-pressure.

    def _became_full(self) -> None:
        other = self._other
        if other is not None and not other._life.ended:
            other._stop_reading(OTHER_LEG)

    def _all_sent(self) -> None:
        super()._all_sent()
        if self._other is not None and not self._sending.full and self._early is None:
            self._other._read_on(OTHER_LEG)

    # The end.

    def _hand_on_end(self, other: _Leg, error: ConnectionClosed) -> None:
        """This leg's peer sends no more: so does the other leg, once it has written what came before."""
        level = DEBUG if error.reason == _ORDINARY_END else WARNING
        _log.log(level, "%r: %s", self, error.reason)
        self._asked.clear()  # no answers to them will come, and who asked is told by the end of file
        other._sending.finish()

    def _settle(self) -> None:
        """End both, once nothing that either peer waits for can come any more, and both have taken what came."""
        other = self._other
        if other is None or self._early is not None or self._life.ended or other._life.ended:
            return
        if self._behind is not None or other._behind is not None:
            return
        if self._sending.full or other._sending.full:
            return
        if self._wire.state == "peer-finished" and not other._asked:
            self._end(ConnectionClosed(_ORDINARY_END))
        elif other._wire.state == "peer-finished" and not self._asked:
            other._end(ConnectionClosed(_ORDINARY_END))
        elif self._closing and not self._asked and not other._asked:
            self._linger()
            self._end(ConnectionClosed("the bridge was stopped"))

    def _close_if_idle(self) -> None:
        self._settle()

    @property
    def _closing(self) -> bool:
        return self._bridge._roster.stopping

    def _drain(self) -> None:
        if self._early is not None:  # the target has heard nothing yet
            self._linger()
            self._end(ConnectionClosed("the bridge was stopped"))
        super()._drain()

    def _linger(self) -> None:
        """What may be on its way here must not make a reset of the end."""
        self._lingering = self._wire.state != "peer-finished"

    def _end(self, error: ConnectionClosed, *, abort: bool = False) -> None:
        if self._life.ended:
            return
        other = self._other
        if other is None or not other._life.ended:  # else this one only follows
            _log.log(WARNING if abort else DEBUG, "%r: %s", self, error.reason)
        super()._end(error, abort=abort)
        self._asked.clear()
        self._early = self._behind = None
        if self._reaching is not None and self._reaching is not asyncio.current_task():
            self._reaching.cancel()
        if other is not None and not other._life.ended:
            other._linger()
            other._end(ConnectionClosed(f"the bridge's {self._side}: {error.reason}"))


_Answer = wire.ResponseReceived | wire.ErrorReceived | wire.AnswerUnreadable
_ANSWERED_HERE = (wire.HelloReceived, wire.RequestUnreadable, wire.Closed)
"""Events that concern this leg alone."""


class Bridge(Server):
    """A bridge that is running, or was. Made by `start_bridge`.

    It is waited for and stopped as a server is. As an asynchronous context manager it stops itself at the end, and
    waits until it has.

    Attributes:
        target: where it connects to.
    """

    def __init__(
        self,
        listener: Listener,
        settings: Settings,
        target: Address,
        target_settings: Settings,
        user_to_login: LoginLookup | None,
        connect_timeout: float | None,
    ) -> None:
        self.target = target
        self._target_settings = target_settings
        self._user_to_login = user_to_login
        self._connect_timeout = connect_timeout
        super().__init__(listener, settings)

    def __repr__(self) -> str:
        state = "stopped" if self._roster.stopping else "running"
        return f"<bokbok.bridge.Bridge {format_address(self.address)} to {format_address(self.target)}, {state}>"

    def _connection(self, visit: Visit) -> Connection:
        return _Leg(self, "client", self._settings.server_protocol(), self._settings, self, visit)

    async def _log_in(self, user: str | None) -> Login | None:
        if self._user_to_login is None:
            return None
        found = self._user_to_login(user)
        login = await found if inspect.isawaitable(found) else found
        if login is None:
            raise BokbokError(
                f"user {user!r} does not have a login at the target"
                if user is not None
                else "an insecure client does not have a login at the target"
            )
        return login


def _every_digit(profile: wire.Profile) -> wire.Profile:
    """The profile, but that it writes every digit of a flonum: what came with them goes on with them."""
    return dataclasses.replace(profile, dialect=dataclasses.replace(profile.dialect, exact=False))


def start_bridge(
    listen_at: AddressLike,
    target: AddressLike,
    *,
    user_to_key: KeyLookup | None = None,
    user_to_login: LoginLookup | None = None,
    profile: wire.ProfileLike = None,
    target_profile: wire.ProfileLike = None,
    backlog: int = DEFAULT_BACKLOG,
    connect_timeout: float | None = DEFAULT_CONNECT_TIMEOUT,
    limits: wire.Limits = wire.DEFAULT_LIMITS,
    guards: wire.Guards = wire.DEFAULT_GUARDS,
    target_guards: wire.Guards = wire.DEFAULT_GUARDS,
) -> Starting[Bridge]:
    """Start a bridge on this event loop: `await` it, or enter it with `async with`.

    For each connection that it accepts, once its hello has opened, it opens one to the target, and forwards requests,
    answers and errors both ways.

    Args:
        listen_at: where it listens: as `start_server` takes it.
        target: where the server is that it connects to: as `open_connection` takes it.
        user_to_key: as `start_server` takes it. Without it, the listening side is insecure.
        user_to_login: `user_to_login(user) -> (user, key) | None`, a plain function or a coroutine function: as whom
            somebody who has connected (`None`: on an insecure connection) speaks to the target; `None` refuses.
            Without it, connections to the target are insecure.
        profile: the wire format of the listening side, or its name; the default is `inferred-1`.
        target_profile: that of the target.
        backlog: connections that the system holds until they are accepted.
        connect_timeout: seconds for a connection to the target to come about; `None` for as long as the system takes.
        limits: what the other ends may ask of this one at most, on both sides. `running` and `waiting` together
            are the requests of one peer that may wait for their answers; more are answered with an error.
        guards: what is refused on the listening side although it is well formed.
        target_guards: the same on the target's side.

    Raises:
        ConnectFailed: it cannot listen there. (Whether the target is there shows when somebody connects.)
        AddressError: an address is in none of the forms.
        ProfileError: the profile is unknown, or the guards refuse it.
    """

    async def start() -> Bridge:
        here, beyond = wire.get_profile(profile), wire.get_profile(target_profile)
        settings = Settings(user_to_key=user_to_key, profile=_every_digit(here), limits=limits, guards=guards)
        settings.check_cryptography()
        target_settings = Settings(profile=_every_digit(beyond), limits=limits, guards=target_guards)
        if user_to_login is not None:
            wire.check_cryptography(beyond, target_guards)
        place, limit = parse_address(target), seconds(connect_timeout, "connect_timeout")
        listener = listen(parse_address(listen_at), backlog)
        return Bridge(listener, settings, place, target_settings, user_to_login, limit)

    return Starting(start)
