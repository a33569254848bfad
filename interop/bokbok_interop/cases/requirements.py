"""The sentences that the cases check, quoted, each with a short name.

What this module knows: the words of the documents. What it refuses to know: how a sentence is checked.

Four documents: `reference`, the egg's own API reference, every sentence of it that promises something; `readme`, what
the egg's README adds; `profile`, the default profile `inferred-1`; `guards`, what a receiver guards within the same
bytes. The first two are the egg's; the others are this project's and say nothing about the real egg.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DOCUMENTS", "REQUIREMENTS", "Requirement"]

DOCUMENTS = {
    "reference": "the egg's API reference",
    "readme": "the egg's README",
    "profile": "the default profile, inferred-1",
    "guards": "what a receiver guards",
}


@dataclass(frozen=True)
class Requirement:
    """One sentence.

    Attributes:
        name: `procedure.aspect`.
        document: a key of `DOCUMENTS`.
        section: the heading under which it stands.
        text: the sentence, as it stands there.
        untestable: why no case can check it from outside, or empty.
    """

    name: str
    document: str
    section: str
    text: str
    untestable: str = ""


_ABOUT = "Description"
_OPEN = "(open-connection! address username key request-handler close-handler)"
_REQUEST = "(request! con message)"
_START = "(start-server bind-addr backlog user->key open-handler request-handler close-handler)"

_REFERENCE: list[tuple[str, str, str] | tuple[str, str, str, str]] = [
    ("about.rpc", _ABOUT, "A secure remote procedure call library for Chicken Scheme."),
    ("about.transports", _ABOUT, "TCP or UNIX-domain sockets."),
    ("about.encryption", _ABOUT, "Optional encryption and authentication (with pre-shared keys)."),
    (
        "about.threads",
        _ABOUT,
        "Multithreading over a single connection: multiple threads may make requests via the same connection, and "
        "multiple request handlers can be running at once in their own threads.",
    ),
    (
        "about.symmetry",
        _ABOUT,
        "Connections are symmetrical once established: either side may invoke the other side's API at any time, "
        '"client" and "server" are just a matter of who sat passively waiting for a connection and who initiated it.',
    ),
    (
        "key.passphrase",
        "(passphrase->key passphrase-string)",
        "Converts an arbitrary passphrase string into a key object that can be used as an argument to "
        "open-connection! or returned from a server's username->key callback.",
    ),
    ("open.connection", _OPEN, "Opens a connection, returning a connection object."),
    (
        "open.tcp",
        _OPEN,
        'address can be in any of the following forms: "HOSTNAME:PORT" or (tcp HOSTNAME PORT) for a TCP connection',
    ),
    ("open.unix", _OPEN, '"PATH/TO/SOCKET" or (unix "PATH/TO/SOCKET") for a UNIX domain connection'),
    (
        "open.key",
        _OPEN,
        "username and key will be used to authenticate and encrypt the connection; the server can't accept the "
        "connection unless the key matches what it expects for that username.",
    ),
    ("open.wrong-key", _OPEN, "So if you or the server have not got the right key, the connection will fail."),
    (
        "open.insecure",
        _OPEN,
        "For an unencrypted and unauthenticated insecure connection, set username and key to #f.",
    ),
    (
        "open.request-handler",
        _OPEN,
        "request-handler is a callback that will be invoked (in a thread) for any requests that come from the server.",
    ),
    (
        "open.request-handler-arguments",
        _OPEN,
        "It will be applied to two arguments: the connection object itself and the request received from the server.",
    ),
    (
        "open.request-handler-value",
        _OPEN,
        "Its return value will be taken as the response to the request and sent back to the server.",
    ),
    (
        "open.request-handler-errors",
        _OPEN,
        "Any errors raised in the request-handler will be sent back to the server.",
    ),
    (
        "open.close-handler",
        _OPEN,
        "close-handler is a callback that will be invoked (in a thread) if the connection is closed by the server.",
    ),
    (
        "open.close-handler-argument",
        _OPEN,
        "It will be applied to a single argument, the connection object.",
    ),
    ("open.returns", _OPEN, "open-connection returns the connection object."),
    (
        "connection?",
        "(connection? con)",
        "Returns #t if and only if the argument is a connection object.",
        "a predicate of one language's own objects: no message can carry its argument",
    ),
    (
        "connection-user",
        "(connection-user con)",
        "Returns the username of the connection, or #f if it's an insecure connection.",
    ),
    ("connection-addr", "(connection-addr con)", "Returns the address of the other end of the connection."),
    ("close-connection", "(close-connection! con)", "Closes a connection."),
    (
        "request.message",
        _REQUEST,
        "Sends the message (an arbitrary sexpr) as a request to the other end of the connection, and blocks waiting "
        "for a response.",
    ),
    (
        "request.parallel",
        _REQUEST,
        "This is thread-safe - multiple threads may call request! on the same connection in parallel, and although "
        "the connection is blocked while a request is being sent or a response received, it is not blocked while a "
        "request is being processed at the other end, and responses may come back in a different order to the "
        "requests sent.",
    ),
    (
        "request.errors",
        _REQUEST,
        "If the request fails for networky reasons, a suitable error is raised; if the request handler at the far "
        "end fails, a remote error is raised.",
    ),
    ("remote-error", "(remote-error? error)", "Returns #t if and only if the error is a remote error."),
    (
        "remote-error-message",
        "(remote-error-message error)",
        "Returns a string describing what went wrong at the other end of the connection.",
    ),
    ("start.server", _START, "Starts a bokbok server in a thread, and returns a server object."),
    (
        "start.bind",
        _START,
        "bind-addr is the address to bind to, either (unix PATH) for a Unix-domain socket or (tcp ADDRESS PORT) for "
        "a TCP socket.",
    ),
    ("start.bind-all", _START, "An ADDRESS of #f causes it to bind on all available addresses."),
    ("start.backlog", _START, "backlog is the listen backlog."),
    (
        "start.backlog-advice",
        _START,
        "This is a slightly mysterious tuning parameter that can matter in highly-loaded systems. Try using 10.",
        "advice, not a promise (every case listens with 10)",
    ),
    (
        "start.user-key",
        _START,
        "user->key, if provided, is a callback closure invoked to authenticate and authorize encrypted connections.",
    ),
    (
        "start.user-key-value",
        _START,
        "It is passed a username string, and must return a key object that matches the key object used by the client "
        "when opening the connection.",
    ),
    (
        "start.user-key-database",
        _START,
        "Attach it to whatever passes for a database of users on the server.",
        "advice to the program's author",
    ),
    (
        "start.user-key-refuses",
        _START,
        "It should return #f for an unrecognised or otherwise not allowed to connect username.",
    ),
    ("start.insecure", _START, "If #f is provided, then the server listens for insecure connections."),
    (
        "start.open-handler",
        _START,
        "open-handler is a callback closure invoked whenever a new connection is made to the server.",
    ),
    ("start.open-handler-argument", _START, "It is applied to the connection object."),
    (
        "start.request-handler",
        _START,
        "request-handler is a callback closure invoked whenever the client sends a request to the server on any "
        "connection, as explained above under open-connection.",
    ),
    (
        "start.close-handler",
        _START,
        "close-handler is a callback closure invoked when the client closes a connection.",
    ),
    ("start.close-handler-argument", _START, "It is applied to the connection object."),
    ("stop-server", "(stop-server! server)", "Asks the server to stop."),
    ("wait-stopped", "(wait-until-server-stopped server)", "Blocks until the server has stopped."),
]

_README: list[tuple[str, str, str]] = [
    (
        "readme.session-key",
        "Encryption",
        "A random session key is actually used for encryption, chosen by the client; the user's key is used to "
        "encrypt the session key for transmission to the server, then discarded.",
    ),
    (
        "readme.symmetry",
        "Connections",
        "After set-up both sides are the same: both may call request! and close-connection!, and both have a request "
        "handler and a close handler.",
    ),
    ("readme.open-handler", "Servers", "when connections come in, an 'open handler' is notified"),
    (
        "readme.user-key",
        "Encryption",
        "In encrypted mode the key lookup gets the username that the client provided and returns a key, or #f if "
        "that user may not connect.",
    ),
]

_PROFILE: list[tuple[str, str, str]] = [
    (
        "profile.key",
        "Facts and their standing",
        "key = the first 32 bytes of SHA-512 of the passphrase's bytes",
    ),
    (
        "profile.framing",
        "Framing",
        "length: u32 big-endian || bytes. A length over the receiver's limit (default 16 MiB) ends the connection; "
        "before a hello has opened the limit is what the hello needs.",
    ),
    ("profile.insecure", "Insecure connection", "No hello. Each packet is one message."),
    (
        "profile.hello-user",
        "Secure connection",
        "packet: the username's bytes (any CHICKEN string, 0 to 255 bytes), plain",
    ),
    (
        "profile.hello-key",
        "Secure connection",
        "packet, of exactly 72 bytes: box under the user key of the 32-byte random session key",
    ),
    (
        "profile.boxes",
        "Secure connection",
        "every later packet, both ways: box under the session key of one message.",
    ),
    ("profile.no-answer", "Secure connection", "The server answers nothing to the hello."),
    (
        "profile.early",
        "Secure connection",
        "The client speaks first, and may go on to its first request without waiting",
    ),
    (
        "profile.refusal",
        "Secure connection",
        "If the user is unknown, or packet 2 does not open, it closes: in both cases only once packet 2 is there, "
        "after the same work, and with nothing left unread in a way that turns the close into a reset, so that the "
        "two cannot be told apart",
    ),
    (
        "profile.wrong-mode",
        "Secure connection",
        "The same for a secure client at an insecure server and the other way round, whose bytes make no sense to "
        "the other side: it closes, or its hello times out.",
    ),
    (
        "profile.nonce",
        "The default profile",
        "No nonce is used twice: a side draws 16 bytes from the system's random source per connection, then a u64 "
        "big-endian counter from 0, one sequence for all its boxes, the hello's among them.",
    ),
    ("profile.any-nonce", "The default profile", "A receiver takes any nonce."),
    (
        "profile.messages",
        "Messages",
        'request: (request ID DATUM); response: (response ID DATUM); failed request: (error ID "message")',
    ),
    (
        "profile.ids",
        "Messages",
        "ID is a fixnum ≥ 0; each side numbers its own requests from 0 upwards, by one, in the order in which they "
        "are written.",
    ),
    (
        "profile.protocol-error",
        "What comes",
        "no list, two datums, bytes after the list other than white space and whole comments, nothing at all, an "
        "unknown tag, a wrong shape, an ID that is no fixnum ≥ 0, an answer to a question never asked or already "
        "answered, a refusal of a guard below: protocol error: the connection closes, every waiting request fails",
    ),
    (
        "profile.unreadable",
        "What comes",
        "(, a tag and an ID read, the last byte but white space is ), and what is between does not read as one "
        "datum, for whatever reason: that one request fails: a response as a remote error of the waiting request! "
        'that says the answer cannot be read, a request with (error ID "message")',
    ),
    (
        "profile.reads-unspecified",
        "What comes",
        "#<unspecified>, anywhere: read as the unspecified value: a handler of the egg's own demo returns it",
    ),
    (
        "profile.reads-like-chicken",
        "What comes",
        "brackets; comments and white space before, between and after datums: as CHICKEN's read takes them",
    ),
    (
        "profile.unspecified",
        "Messages",
        "The unspecified value is written (), anywhere in a datum, since no read of CHICKEN takes #<unspecified>.",
    ),
    (
        "profile.unwritable",
        "Messages",
        "Any other value that has no external representation (a procedure, a record, a cycle) never reaches the "
        "wire: request! refuses it before sending; as a handler's result it is answered with "
        '(error ID "message") that names it.',
    ),
    (
        "profile.close",
        "Close",
        "Either side closes the socket. Requests still waiting fail with a connection error; nothing is resent.",
    ),
    (
        "profile.half-close",
        "Close",
        "At an end of file the receiver's own waiting requests fail and its close handler starts, both at once; "
        "handlers that run go on, their answers are still sent where the direction is open, then the socket is "
        "closed.",
    ),
    (
        "profile.stop",
        "The end",
        "A server that is asked to stop listens no more, and the file of its Unix socket is removed. Its connections "
        "close when their running handlers have finished: until then those handlers' answers are sent, new requests "
        "are answered with an error, and answers to requests of this side are still taken.",
    ),
    ("profile.wait", "The end", "wait-until-server-stopped waits for all of that."),
    (
        "profile.limits",
        "Limits",
        "Requests beyond the number of running handlers queue, beyond the number of waiting ones they are answered "
        'with (error ID "message"); reading never stops for them.',
    ),
    (
        "profile.own-limit",
        "Limits",
        "A message over the sender's own packet limit is refused like a value that cannot travel.",
    ),
    (
        "profile.addresses",
        "Addresses",
        "connection-addr of a TCP connection is (tcp HOST PORT) of the other end, HOST numeric; of a Unix connection "
        "(unix PATH) of the socket on both sides.",
    ),
    (
        "profile.mapped",
        "Addresses",
        "#f binds IPv4 and IPv6 (:PORT as a string); an IPv4-mapped address is shown as IPv4.",
    ),
    (
        "profile.address-strings",
        "Addresses",
        "A string with digits after its last colon and no / is HOST:PORT ([::1]:80 for IPv6), any other a path.",
    ),
    (
        "profile.dialect",
        "Messages",
        "One list, in the profile's dialect (default CHICKEN_4, so a keyword is foo:), bytes as CHICKEN has them",
    ),
    (
        "profile.open-handler",
        "Peers are puppets",
        "the open handler runs once per accepted connection (a secure one once its hello has opened, a refused one "
        "never) and has returned before the first request handler starts",
    ),
    (
        "profile.close-handler",
        "Peers are puppets",
        "the close handler runs once for every end of a connection that was open, unless this side's own "
        "close-connection! or stop-server! asked for it.",
    ),
]

_GUARDS: list[tuple[str, str, str]] = [
    (
        "guards.hello",
        "Guards",
        "a hello whose box it has seen before, under whatever username (checked and remembered in one step, bounded "
        "memory)",
    ),
    (
        "guards.request-id",
        "Guards",
        "a request whose ID was used before: a sliding window as IPsec has it, so that gaps and a changed order pass "
        "and repeats do not",
    ),
    (
        "guards.reflection",
        "Guards",
        "its own packet sent back to it, where the profile's nonces allow to tell.",
    ),
    (
        "guards.refusal",
        "Guards",
        "A refusal is a protocol error (a replayed hello: as an unknown user); an ID below the window counts as used",
    ),
    (
        "guards.survives",
        "The hostile chapter",
        "the peer must survive and go on serving others",
    ),
    (
        "guards.hello-timeout",
        "Limits",
        "hello 10 s: a client that does not finish its hello holds nothing for longer than that",
    ),
    (
        "guards.bounded",
        "Limits",
        "Everything that a peer controls has a limit",
    ),
    (
        "guards.memory",
        "Limits",
        "The reader never evaluates, never interns without bound, never recurses on input.",
    ),
]


def _build() -> dict[str, Requirement]:
    out: dict[str, Requirement] = {}
    for document, entries in (
        ("reference", _REFERENCE),
        ("readme", _README),
        ("profile", _PROFILE),
        ("guards", _GUARDS),
    ):
        for name, section, text, *untestable in entries:
            assert name not in out, name
            out[name] = Requirement(name, document, section, text, untestable[0] if untestable else "")
    return out


REQUIREMENTS = _build()
"""Every sentence, by name, in the order of its document."""
