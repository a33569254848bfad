"""The arguments of an end: its handlers, its wire format, its limits and guards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .. import wire
from ..keys import Key
from .proxy import Proxies

if TYPE_CHECKING:
    from .link import Link

__all__ = ["AsyncSharedHellos", "Settings", "SharedHellos"]


class SharedHellos(Protocol):
    """A memory of hellos that the servers of a fleet share, for threads."""

    def remember(self, digest: bytes) -> bool:
        """Remember a hello, by its digest of 32 bytes, in one step. False if it was remembered before.

        It may block. If it raises an error, the hello is refused.
        """


class AsyncSharedHellos(Protocol):
    """A memory of hellos that the servers of a fleet share, for an event loop."""

    async def remember(self, digest: bytes) -> bool:
        """As `SharedHellos.remember`."""


@dataclass(frozen=True)
class Settings:
    """The arguments of `open_connection` or `start_server` that all their connections share.

    Attributes:
        proxies: the proxies that are trusted to say whose a connection is.
        hellos: the hellos that a server has seen. All its connections share them, since a replay comes over another
            connection.
        shared_hellos: a memory that other servers share, whose `remember(digest)` tells whether a hello is new.
        link: to the supervisor of this process, which knows of the connections of the other processes.
    """

    on_request: Callable[..., Any] | None = None
    user_to_key: Callable[..., Any] | None = None
    on_open: Callable[..., Any] | None = None
    on_close: Callable[..., Any] | None = None
    profile: wire.Profile = wire.INFERRED_1
    limits: wire.Limits = wire.DEFAULT_LIMITS
    guards: wire.Guards = wire.DEFAULT_GUARDS
    proxies: Proxies = field(default_factory=Proxies)
    hellos: wire.HelloMemory = field(default_factory=wire.HelloMemory)
    shared_hellos: SharedHellos | AsyncSharedHellos | None = None
    link: Link | None = None

    def __post_init__(self) -> None:
        for name in ("on_request", "user_to_key", "on_open", "on_close"):
            value = getattr(self, name)
            if value is None or callable(value):
                continue
            hint = "; of a dict, `.get` is one" if isinstance(value, Mapping) else ""
            raise TypeError(f"{name}: expected a function, got {type(value).__name__}{hint}")
        if not isinstance(self.limits, wire.Limits):
            raise TypeError(f"limits: expected a bokbok.Limits, got {type(self.limits).__name__}")
        if not isinstance(self.guards, wire.Guards):
            raise TypeError(f"guards: expected a bokbok.Guards, got {type(self.guards).__name__}")

    @classmethod
    def of_server(
        cls,
        on_request: Callable[..., Any] | None,
        user_to_key: Callable[..., Any] | None,
        on_open: Callable[..., Any] | None,
        on_close: Callable[..., Any] | None,
        proxies: Iterable[str],
        profile: wire.ProfileLike,
        limits: wire.Limits,
        guards: wire.Guards,
        shared_hellos: SharedHellos | AsyncSharedHellos | None,
        link: Link | None,
    ) -> Settings:
        """The settings of a server, from the arguments of `start_server`, before anything listens.

        Raises:
            ProfileError: the profile is unknown, or the guards refuse it.
            AddressError: one of `proxies` is not an address or a network.
            TypeError: an argument is of another type than it should be; the text says which.
        """
        settings = cls(
            on_request,
            user_to_key,
            on_open,
            on_close,
            wire.get_profile(profile),
            limits,
            guards,
            Proxies(proxies),
            shared_hellos=shared_hellos,
            link=link,
        )
        settings.check_cryptography()
        return settings

    def check_cryptography(self) -> None:
        """Refuse a secure server whose profile does not keep its secrets.

        Raises:
            ProfileError: the guards refuse the profile.
        """
        if self.user_to_key is not None:
            wire.check_cryptography(self.profile, self.guards)

    def server_protocol(self) -> wire.Connection:
        """The protocol object of a connection that a server has accepted."""
        return wire.Connection(
            "server",
            secure=self.user_to_key is not None,
            profile=self.profile,
            limits=self.limits,
            guards=self.guards,
            hellos=self.hellos,
            confirm_hellos=self.link is not None or (self.shared_hellos is not None and self.guards.hello_replay),
        )

    def client_protocol(self, user: str | None, key: Key | None) -> wire.Connection:
        """The protocol object of a client.

        Raises:
            ValueError: `user` without `key` or the other way round, or a username that is too long.
            TypeError: one of them is of another type.
        """
        return wire.Connection(
            "client", user=user, key=key, profile=self.profile, limits=self.limits, guards=self.guards
        )
