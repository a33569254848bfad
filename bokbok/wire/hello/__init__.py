"""The hello: how a client says who it is and hands over the session key.

What this package knows: the packets before the first message of a secure connection.

Where its facts come from: that the client chooses a random session key and sends it encrypted with the user's key
is *stated* (the egg's README). That the username travels readable is *certain*: the server must pick a key by it.
Two packets, name first, and no answer from the server, are choices of `inferred-1`.
"""

from __future__ import annotations

from ._hello import TemplateHello
from ._strategy import MAX_USERNAME, Hello, ServerHello
from ._template import Field, Fields, Part, Template

__all__ = [
    "HELLOS",
    "MAX_USERNAME",
    "Field",
    "Fields",
    "Hello",
    "Part",
    "ServerHello",
    "Template",
    "TemplateHello",
]

HELLOS: tuple[type[Hello], ...] = (TemplateHello,)
"""The hellos that a profile file may name."""
