"""Calibration: find a real peer's wire format from its bytes.

What this package knows: how to get a recording, how to reason from its bytes to a profile, and how to say what was found
and why. What it refuses to know: what a peer must do (`bokbok_interop.cases` does).
"""  # noqa: E501
