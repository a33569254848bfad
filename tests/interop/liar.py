"""A puppet that accepts every profile, with the right digest, but goes on speaking the default one."""

from __future__ import annotations

import asyncio
from typing import Any

from bokbok.wire import INFERRED_1
from bokbok_interop.puppets import asyncio as puppet_of_asyncio
from bokbok_interop.puppets.puppet import Puppet


class Liar(Puppet):
    """Its requests are answered, by another puppet like it."""

    def _format(self) -> dict[str, Any]:
        return {"profile": INFERRED_1}


if __name__ == "__main__":
    puppet_of_asyncio.Puppet = Liar  # type: ignore[misc]
    asyncio.run(puppet_of_asyncio._main())
