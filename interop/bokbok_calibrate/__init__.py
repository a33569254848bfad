"""Calibration: find a real peer's wire format from its bytes.

Its modules follow the layers of the wire, from the outside in: `framing`, `packet_type`, `encoding`, `nonce`,
`derivation`, `hello`, `session_key`, `message`. Each of them knows which forms its layer can have, and which of them
fit given bytes. `search` puts them together, `verify` proves the result by writing every byte again, `report` shows it,
`live` gets recordings from peers, and `cli` is the command.

Words of its own:

- a *cut* is the packets into which one framing divides all streams of a recording;
- a *way* is how the boxes of one direction open: where the nonce is, what it is counted from, in which encoding;
- a *view* is one reading of a plaintext as a message: this number as the ID, that part as the datum;
- a *trail* is the list of what was found on one path of the search, for the report.
"""
