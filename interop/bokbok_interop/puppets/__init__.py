"""The puppets of this library's two front ends: `python -m bokbok_interop.puppets.sync` and `.asyncio`.

What this package knows: the puppet protocol, and the public API of `bokbok`. What it refuses to know: which case is
played. No test logic lives here.
"""
