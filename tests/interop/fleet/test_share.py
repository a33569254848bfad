from __future__ import annotations

import itertools
from collections import Counter

from bokbok_interop.cases import all_cases
from bokbok_interop.fleet.share import CELLS, LEAD, LONG, shares, suite_digest
from bokbok_interop.matrix import Selection, build


def test_every_cell_is_in_one_share() -> None:
    groups = build(["a", "b"], all_cases(), Selection())
    wanted = Counter(group.cell(case) for group in groups for case in group.cases)
    assert Counter(cell for share in shares(groups, 1, itertools.count()) for cell in share.cells()) == wanted


def test_a_share_has_few_cells_and_one_that_waits_long_is_alone_and_early() -> None:
    by_id = {case.id: case for case in all_cases()}
    selection = Selection(transports=("tcp",), securities=("secure",))
    made = list(shares(build(["a"], all_cases(), selection), 1, itertools.count()))
    assert [share.number for share in made] == list(range(len(made)))
    assert max(len(share.cases) for share in made) == CELLS
    mine = [share for share in made if share.client == share.server]
    waits = [max(by_id[case].timeout for case in share.cases) for share in mine]
    assert all(len(share.cases) == 1 for share, wait in zip(mine, waits, strict=True) if wait >= LONG)
    long = [wait for wait in waits if wait >= LONG]
    assert long
    assert waits[: len(long)] == sorted(long, reverse=True)


def test_the_shares_of_a_group_stand_near_one_another() -> None:
    made = list(shares(build(["a", "b", "c"], all_cases(), Selection()), 1, itertools.count()))
    groups = [(share.client, share.server, share.transport, share.security) for share in made]
    assert len(set(groups)) > 2 * LEAD
    for group in set(groups):
        first = groups.index(group)
        last = len(groups) - 1 - groups[::-1].index(group)
        # Those of the groups that lead, and of the groups which this one leads, are between them.
        assert len(set(groups[first : last + 1])) <= 1 + 2 * LEAD


def test_the_suite_has_a_digest() -> None:
    assert len(suite_digest()) == 64
