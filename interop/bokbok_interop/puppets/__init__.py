"""The puppets of this library's two front ends: `python -m bokbok_interop.puppets.sync` and `.asyncio`.

This package knows the puppet protocol and the public API of `bokbok`. It does not contain test logic.
"""
