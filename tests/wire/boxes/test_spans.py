"""What the bytes of a box are: each byte is named once, even if there are too few for a box."""

from __future__ import annotations

import pytest

from bokbok.wire.boxes import Sent


@pytest.mark.parametrize("zeros", [0, 16])
@pytest.mark.parametrize("place", ["front", "behind"])
def test_each_byte_is_named_once_whatever_the_size(place: str, zeros: int) -> None:
    scheme = Sent(place, key=place, zeros=zeros)  # type: ignore[arg-type]
    for size in range(80):
        spans = scheme.spans("client", size, first=True)
        assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])][: len(spans)]
        assert (spans[-1].end if spans else 0) == size
