"""What a run has at the container engine, as far as no engine is needed for it."""

from __future__ import annotations

import pytest

from bokbok_interop.peers.session import unique_local_prefix


@pytest.mark.parametrize(
    ("chosen", "prefix"),
    [
        ("71ba5b9bb9", "fd71:ba5b:9bb9:1::"),
        ("71ba5b0bb9", "fd71:ba5b:bb9:1::"),
        ("0000000000", "fd00:0:0:1::"),
    ],
)
def test_a_prefix_is_spelt_as_peers_show_it(chosen: str, prefix: str) -> None:
    assert unique_local_prefix(bytes.fromhex(chosen)) == prefix
