"""The conformance suite for bokbok peers: does a peer, in any language, behave as the API reference says?

What this package knows: what is required of a peer (`cases`), how one is started and steered (`peers`), and how the
outcome is shown (`report`). It uses the library's public API and the pieces of `bokbok.wire`, and nothing in `bokbok`
imports it.
"""
