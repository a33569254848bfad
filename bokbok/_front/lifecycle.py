"""The life of one connection: which of its handlers run when, what happens at its end, and when it closes by itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import wire
from .._fork import REASON
from ..address import Address, format_address
from ..errors import ConnectionClosed, RemoteError, RemoteProtocolError, UnreadableAnswer, WriteError
from ..keys import Key
from . import texts
from .admission import NO_HANDLER, STOPPING, Admission, error_text
from .budget import Budget
from .clocks import PacketClock
from .failures import Failures
from .logs import ERROR, INFO, WARNING, Log
from .notices import bounded, shown
from .settings import Settings
from .slots import Slots

if TYPE_CHECKING:
    from .shared import Visit

__all__ = ["Ending", "Lifecycle", "Public", "checked_key", "remote_error"]

_W = TypeVar("_W")


@dataclass(frozen=True)
class Ending:
    """How a connection is to end.

    Attributes:
        error: the reason; requests that wait fail with it.
        linger: whether to read first what the other end still sends, and drop it. Requests may be on their way. If
            anything were left unread, the close would turn into a reset, which can overtake an answer.
    """

    error: ConnectionClosed
    linger: bool = False


class Lifecycle(Generic[_W]):
    """The life of one connection.

    Args:
        protocol: the protocol object.
        settings: the arguments of this end.
        visit: how its server counts it; `None` for a client's connection.
        slots: the server's slots; a client's connection has its own.
        wake: called when a slot is kept for this connection (`slots` says how).

    Attributes:
        wire: the protocol object.
        admission: which request may start its handler.
        visit: the argument.
        party: who waits in line when it waits (`turns`): all connections of a user, or of a source; all whose hello is
            under way; else this one alone.
        waiters: who waits for an answer, by the request's ID.
        was_open: whether it has ever been open. If not, its end is not reported.
        ended: whether it is over for good.
    """

    __slots__ = (
        "_announced",
        "_asked_to_close",
        "_failures",
        "_on_close",
        "account",
        "admission",
        "ended",
        "party",
        "settings",
        "visit",
        "waiters",
        "was_open",
        "wire",
    )

    def __init__(
        self,
        protocol: wire.Connection,
        settings: Settings,
        visit: Visit | None = None,
        slots: Slots | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.wire = protocol
        self.settings = settings
        limits = settings.limits
        share = (slots or Slots(limits.server_running, limits.parked)).share(wake)
        self.admission = Admission(limits.running, limits.waiting, held=settings.on_open is not None, share=share)
        budget = visit.budget if visit is not None else Budget(limits.server_memory)
        self.account = budget.account(limits.memory)
        self.visit = visit
        self.party: Hashable = "hello" if protocol.state == "hello" else object()
        self.waiters: dict[int, _W] = {}
        self.was_open = False
        self.ended = False
        self._failures: Failures | None = None
        self._announced = False
        self._asked_to_close = False

    # The beginning.

    def admit(self, connection: object) -> Ending | None:
        """The connection is about to open. Returns how it ends instead, if a limit of the server refuses it.

        Do not call it with a lock held: it may write to the log.

        Args:
            connection: what the log calls it.
        """
        if self.visit is None or self.was_open or self.ended:
            return None
        refusal = self.visit.opened(self.wire.user, connection)
        return None if refusal is None else Ending(ConnectionClosed(f"refused: {refusal}"), linger=True)

    def open(self) -> bool:
        """The connection is open. True: call the open handler now; requests wait for `open_handler_returned`."""
        if self.was_open or self.wire.state == "closed":
            return False
        self.was_open = True
        # All connections of one user, or of one source, together get what one connection would get of slots and memory.
        group: Hashable = None
        if self.wire.user is not None:
            group = ("user", self.wire.user)
        elif self.visit is not None and not self.visit.source.near:
            group = self.visit.source
        self.party = object() if group is None else group
        if group is not None:
            self.admission.share.join(group)
            self.account.join(group)
        return self.settings.on_open is not None

    def open_handler_returned(self) -> bool:
        """Requests may start. True: the connection has ended in the meantime, so call the close handler now."""
        self.admission.held = False
        return self._announced

    # Requests of the other end.

    def take_request(self, id: int, message: Any, cost: int = 0) -> bool:
        """A request came. False: it was refused with an error, which must be sent.

        Args:
            id: the request's.
            message: what it asks.
            cost: bytes of memory that the message takes.
        """
        if self.settings.on_request is None:
            refusal = NO_HANDLER
        elif not self.account.admit(id, cost):
            refusal = texts.TOO_MUCH_MEMORY % (self.account.held, cost)
        elif (too_many := self.admission.queue(id, message)) is None:
            return True
        else:
            self.account.done(id)
            refusal = too_many
        if self.wire.state != "closed":
            self.wire.fail(id, refusal)
        return False

    def take_requests(self, requests: list[wire.Read]) -> bool:
        """`take_request` for several that came at once. True: some were refused with an error, which must be sent."""
        if len(requests) == 1:  # the usual case
            _, id, message, cost = requests[0]
            return not self.take_request(id, message, cost)
        if self.settings.on_request is not None and self.account.admit_all(requests):
            if self.admission.queue_all([part for request in requests for part in request[1:3]]):
                return False
            for _, id, _, _ in requests:
                self.account.done(id)
        refused = False
        for _, id, message, cost in requests:
            refused |= not self.take_request(id, message, cost)
        return refused

    def answer(self, id: int, answer: Any) -> Exception | None:
        """A request handler has returned: queue its answer for sending.

        Returns:
            Why it cannot travel, for the log; an error was put on its way instead.

        Raises:
            TakesLong: others would wait while it is written: `written` and `answer_written` do the same in two steps.
        """
        if not self.account.unsent:  # what the other end takes at once needs no room
            self.account.done(id)
            try:
                return self.wire.respond(id, answer, brief=True)
            except wire.TakesLong:
                raise
            except Exception as error:  # an object of the handler's whose own methods fail while it is written
                if self.wire.state == "closed":
                    return None
                self.wire.fail(id, f"the answer cannot be written: {error_text(error)}")
                return None
        written, failure, problem = self.written(answer, brief=True)
        if failure is None:
            return self.answer_written(id, written)
        self.fail(id, failure)
        return problem

    def written(self, answer: Any, *, brief: bool = False) -> tuple[bytes, str | None, Exception | None]:
        """Write what a request handler has returned, for `answer_written`: what takes long, and needs no lock.

        Args:
            answer: what it has returned.
            brief: whether others wait meanwhile.

        Returns:
            The answer; or, where it cannot travel, what to tell the other end by `fail`; and why, for the log.

        Raises:
            TakesLong: `brief`, and the answer is not.
        """
        try:
            return self.wire.encode(answer, brief=brief), None, None
        except wire.TakesLong:
            raise
        except Exception as error:
            return b"", *self.not_written(error)

    def not_written(self, error: Exception) -> tuple[str, Exception | None]:
        """An answer could not be written. Returns what to tell the other end by `fail`; and why, for the log, where it
        cannot travel."""
        if isinstance(error, WriteError):
            return f"the answer cannot travel: {error}", error
        # An object of the handler's whose own methods fail while it is written.
        return f"the answer cannot be written: {error_text(error)}", None

    def answer_written(self, id: int, written: bytes) -> Exception | None:
        """As `answer`, with what `written` has returned."""
        self.account.done(id)
        try:
            if not self.account.unsent or self.has_room(len(written)):
                return self.wire.respond(id, written, encoded=True)
            self.wire.fail(id, texts.TOO_MUCH_UNSENT % (len(written), self.account.unsent))
        except ConnectionClosed:  # meanwhile
            pass
        return None

    @property
    def holds_too_much(self) -> bool:
        """Whether to read nothing more until memory is freed.

        Not while answers are to come; and not where most is held by requests: what comes next is refused then, which
        is kinder than silence.
        """
        account = self.account
        return account.over and 2 * account.partial > account.held and not self.wire.outstanding

    def has_room(self, size: int) -> bool:
        """Whether an answer of so many bytes may be kept, in addition to what the other end has not taken yet."""
        return not self.account.unsent or self.account.may_send(size)

    def fail(self, id: int, failure: str) -> None:
        """A request handler has failed: queue its error for sending."""
        self.account.done(id)
        if self.wire.state != "closed":
            self.wire.fail(id, failure)

    def too_late(self, packet: PacketClock) -> Ending:
        """A packet has not come in time."""
        limits = self.settings.limits
        if packet.paused is not None:
            return Ending(
                ConnectionClosed(
                    "too much memory is held for other ends to read on: a packet of which "
                    f"{packet.bytes} bytes came has waited for {packet.longest_pause} s"
                ),
                linger=True,
            )
        return Ending(
            ConnectionClosed(
                f"a packet of which {packet.bytes} bytes came takes too long: {limits.packet_timeout} s are allowed, "
                f"and one more for each {limits.packet_rate:g} bytes"
            ),
            linger=True,
        )

    def idle_too_long(self) -> Ending:
        """Nothing has happened for so long that the connection ends."""
        return Ending(ConnectionClosed(f"nothing came for {self.settings.limits.idle_timeout} s"), linger=True)

    @property
    def busy(self) -> bool:
        """Whether anything is under way: a request of either end, or unsent bytes."""
        return bool(self.wire.unanswered or self.wire.outstanding or self.account.unsent)

    def too_much_unsent(self, unsent: int) -> Ending | None:
        """Reading never waits until the other end has taken its answers, so unsent answers need a bound."""
        if unsent <= self.settings.limits.unsent:
            return None
        return Ending(
            ConnectionClosed(
                f"the other end sends requests and does not read its answers: {unsent} bytes wait, "
                f"and the limit is {self.settings.limits.unsent}"
            )
        )

    # The end.

    def ask_to_close(self) -> ConnectionClosed:
        """This end closes the connection, so its close handler does not run."""
        self._asked_to_close = True
        return ConnectionClosed("closed by this end")

    def refused(self, error: ConnectionClosed, connection: object, log: Log) -> None:
        """The other end is at fault, and the connection is about to end. That is logged, counted and remembered.

        Do not call it with a lock held.

        Args:
            error: what it did.
            connection: what the log calls it.
            log: for a connection that no server counts.
        """
        if self.visit is None:
            log.warning("%s", bounded(f"{connection!r}: {error.reason}"))
        elif self.was_open:
            self.visit.refused("protocol", error, connection)
        elif self.wire.state in ("hello", "lookup"):
            self.visit.refused("hello_timeout", error, connection)
        else:
            self.visit.refused("hello" if isinstance(error, RemoteProtocolError) else "left", error, connection)

    def unreadable(self, problem: str, connection: object, log: Log) -> None:
        """A request has come that cannot be read. As `refused`, except that the connection goes on."""
        if self.visit is None:
            self.failed(log, texts.UNREADABLE_REQUEST, connection, problem, level=WARNING)
        else:
            self.visit.unreadable(problem, connection)

    # What fails here.

    def failed(
        self,
        log: Log,
        text: str,
        *args: object,
        error: BaseException | None = None,
        level: int = ERROR,
    ) -> None:
        """Something of this end's own has failed. It is logged, unless there are too many of its kind.

        Do not call it with a lock held.

        Args:
            log: where to.
            text: its kind, and the line's format.
            args: of the line.
            error: whose traceback is logged as well.
            level: of the line.
        """
        if self.visit is not None:
            failures, source = self.visit.failures, self.wire.user or self.visit.source.name
        else:
            # Two threads may make one each: then there are a few more lines.
            failures, source = self._failures or Failures(), ""
            self._failures = failures
        failures.tell(log, source, text, *args, error=error, level=level)

    def handler_failed(self, error: BaseException, connection: object, log: Log) -> None:
        """A request handler has failed. As `failed`; but one that waited for this connection, which has ended, is not
        at fault."""
        if self.wire.error is not None and isinstance(error, ConnectionClosed):
            self.failed(log, texts.HANDLER_CUT_OFF, connection, error, level=INFO)
        else:
            self.failed(log, texts.HANDLER_FAILED, connection, error=error)

    def end(self, error: ConnectionClosed) -> ConnectionClosed | None:
        """The connection is over.

        Returns:
            The error for the requests that wait, with the first reason; `None` if the connection was over already.
        """
        if self.ended:
            return None
        self.ended = True
        self.wire.close(error.reason)
        for id in self.admission.close():
            self.account.done(id)
        self.account.close()
        if self.visit is not None:
            self.visit.greeted()
        return self.wire.error or error

    def announce_end(self) -> tuple[list[_W], bool]:
        """The connection is going to end, though answers may still be sent.

        Returns:
            Those whose requests fail now; and whether to call the close handler now. While the open handler runs, the
            close handler waits for it (`open_handler_returned`).
        """
        waiters = list(self.waiters.values())
        self.waiters.clear()
        if not self.was_open or self._announced or self._asked_to_close or self.settings.on_close is None:
            return waiters, False
        self._announced = True
        return waiters, not self.admission.held

    def drain(self) -> Ending | None:
        """The server stops: no new requests. Refusals must be sent, unless the connection ends at once."""
        self._asked_to_close = True
        refused = self.admission.drain()
        for id in refused:
            self.account.done(id)
        if self.wire.state in ("hello", "lookup"):
            return Ending(ConnectionClosed(_STOPPED))
        if self.wire.state != "closed":
            for id in refused:
                self.wire.fail(id, STOPPING)
        return None

    def idle(self) -> Ending | None:
        """How the connection ends now that nothing is being sent, if it was only there for its last answers."""
        finished, draining = self.wire.state == "peer-finished", self.admission.draining
        if not (finished or draining) or self.ended or not self.admission.idle:
            return None
        if finished:
            return Ending(ConnectionClosed("the other end closed the connection"))
        return Ending(ConnectionClosed(_STOPPED), linger=True)

    def forked(self) -> None:
        """In a forked child: its copy of the connection is over. No handler is called, since none of the threads exist
        here."""
        self.ended = self._announced = True
        self.wire.close(REASON)
        self.waiters.clear()
        self.admission.forget()


_STOPPED = "the server was stopped"


class Public(Generic[_W]):
    """The public attributes of a connection that are the same for both front ends."""

    _life: Lifecycle[_W]
    _address: Address | None

    @property
    def user(self) -> str | None:
        """The username, or `None` on an insecure connection (API reference: `connection-user`)."""
        return self._life.wire.user

    @property
    def address(self) -> Address:
        """The address of the other end (API reference: `connection-addr`): `("tcp", host, port)`, `("unix", path)`."""
        assert self._address is not None
        return self._address

    @property
    def closed(self) -> bool:
        """Whether the connection is over, whoever ended it."""
        return self._life.wire.state in ("peer-finished", "closed")

    @property
    def close_reason(self) -> str | None:
        """Why the connection is over; `None` while it is not."""
        error = self._life.wire.error
        return error.reason if error is not None else None

    def __repr__(self) -> str:
        kind = type(self)
        place = format_address(self._address) if self._address is not None else "not connected"
        user = f" as {shown(self.user)}" if self.user is not None else ""
        package = kind.__module__.rpartition(".")[0]
        return f"<{package}.{kind.__name__} {place}{user}{', closed' if self.closed else ''}>"


def remote_error(event: wire.ErrorReceived | wire.AnswerUnreadable) -> RemoteError:
    """What a request raises if its answer is an error, or cannot be read."""
    if isinstance(event, wire.ErrorReceived):
        return RemoteError(event.message)
    return UnreadableAnswer(f"the answer cannot be read: {event.problem}")


def checked_key(found: object, most: int) -> Key | Sequence[Key] | None:
    """The keys that a `user_to_key` has returned.

    Args:
        found: what it has returned.
        most: how many keys a user may have.

    Raises:
        TypeError: it is neither keys nor `None`. The message does not show the value, which may be a passphrase.
        ValueError: there are too many.
    """
    if found is None or isinstance(found, Key):
        return found
    if not isinstance(found, (list, tuple)) or not all(isinstance(key, Key) for key in found):
        raise TypeError(f"user_to_key returned a {type(found).__name__}, expected a Key, a list of keys, or None")
    if len(found) > most:
        raise ValueError(f"user_to_key returned {len(found)} keys; the limit keys_per_user is {most}")
    return found
