"""Foreign peers: clients and servers of wire formats that the project did not choose, for tests of calibration.

Nothing here is shared with the project's own code: it is another reading of the documents, with its own
s-expressions, its own boxes around PyNaCl, its own sockets. See README.md.
"""

from .endpoint import Endpoint
from .format import INFERRED_1, INFERRED_1_INSECURE, Format
from .generate import (
    foreign_format,
    formats_with_base,
    inferred_1,
    interesting_formats,
    may_occur_format,
    random_format,
)
from .live import ForeignClient, ForeignServer, PeerError, RemoteFailure
from .party import Answer, Behaviour, Exchange, Party
from .record import USER, Capture, record
from .registry import GROUPS, LAYERS, MAY_OCCUR, OUTSIDE, TABLE, CannotCarry, Nonsense, Strategy, all_kinds, kinds
from .rules import objections
from .scripts import CONFORMANCE, DEMO, full_script
from .segments import SEGMENTATIONS
from .service import Service

__all__ = [
    "CONFORMANCE",
    "DEMO",
    "GROUPS",
    "INFERRED_1",
    "INFERRED_1_INSECURE",
    "LAYERS",
    "MAY_OCCUR",
    "OUTSIDE",
    "SEGMENTATIONS",
    "TABLE",
    "USER",
    "Answer",
    "Behaviour",
    "CannotCarry",
    "Capture",
    "Endpoint",
    "Exchange",
    "ForeignClient",
    "ForeignServer",
    "Format",
    "Nonsense",
    "Party",
    "PeerError",
    "RemoteFailure",
    "Service",
    "Strategy",
    "all_kinds",
    "foreign_format",
    "formats_with_base",
    "full_script",
    "inferred_1",
    "interesting_formats",
    "kinds",
    "may_occur_format",
    "objections",
    "random_format",
    "record",
]
