"""A comparison of datums that is independent of the code under test."""

from __future__ import annotations

import math
from array import array
from typing import Any

from bokbok.sexpr import Dotted


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same datum: types count, a NaN equals a NaN, 0.0 is not -0.0. Not recursive."""
    pairs = [(left, right)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, float):
            if math.isnan(left) != math.isnan(right):
                return False
            if not math.isnan(left) and (left != right or math.copysign(1, left) != math.copysign(1, right)):
                return False
        elif isinstance(left, (list, tuple)):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif isinstance(left, Dotted):
            pairs += [(left.items, right.items), (left.tail, right.tail)]
        elif isinstance(left, array):
            if (left.typecode, len(left)) != (right.typecode, len(right)):
                return False
            pairs += zip(left, right, strict=True)
        elif left != right:
            return False
    return True
