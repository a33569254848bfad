"""Calibration: find a real peer's wire format from its bytes.

Its modules are arranged by the layers of the wire, from the outside in: `framing`, `packet_type`, `encoding`, `nonce`,
`derivation`, `hello`, `session_key`, `message`. Each of them knows which forms its layer can have and which of them
given bytes allow. `search` puts them together, `verify` proves what was found by writing every byte again, `report`
says it, `live` gets recordings from peers, and `cli` is the command.

Words of its own:

- a *cut* is what one framing makes of all streams of a recording: their packets;
- a *way* is how the boxes of one direction open: where the nonce is, what it is counted from, in which encoding;
- a *view* is one reading of a plaintext as a message: this number as the ID, that part as the datum;
- a *trail* is the list of what was found on one path of the search, for the report.
"""
