"""Calibration: find a real peer's wire format from its bytes.

Its modules are arranged by the layers of the wire, from the outside in: `framing`, `packet_type`, `encoding`, `nonce`,
`derivation`, `hello`, `session_key`, `message`. Each of them knows which forms its layer can have and which of them
given bytes allow. `search` puts them together, `verify` proves what was found by writing every byte again, `report`
says it, `live` gets recordings from peers, and `cli` is the command.
"""
