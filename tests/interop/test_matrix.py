from __future__ import annotations

from bokbok_interop.cases import CHAPTERS, REQUIREMENTS, all_cases
from bokbok_interop.matrix import Selection, about, build, diagonal, select_cases, shard
from bokbok_interop.model import RUNNER, Kind

CASES = all_cases()


def cells(groups):
    return [group.cell(case) for group in groups for case in group.cases]


def test_every_ordered_pair_transport_and_security_is_there() -> None:
    groups = build(["a", "b"], CASES, Selection(chapters=("symmetry",)))
    assert len(groups) == 4 * 2 * 2
    assert {(g.client, g.server) for g in groups} == {("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")}


def test_a_case_is_only_played_where_it_makes_sense() -> None:
    groups = build(["a"], CASES, Selection(cases=("connect.tcp-string", "secure.wrong-key")))
    assert {(c.transport, c.security, c.case) for c in cells(groups)} == {
        ("tcp", "secure", "connect.tcp-string"),
        ("tcp", "insecure", "connect.tcp-string"),
        ("tcp", "secure", "secure.wrong-key"),
        ("unix", "secure", "secure.wrong-key"),
    }


def test_cases_against_the_runner_are_played_once_per_peer_and_role() -> None:
    groups = build(["a", "b"], CASES, Selection(chapters=("hostile",)))
    assert {(g.client, g.server) for g in groups} == {(RUNNER, "a"), (RUNNER, "b"), ("a", RUNNER), ("b", RUNNER)}


def test_filters_by_role() -> None:
    groups = build(["a", "b"], CASES, Selection(clients=("a",), servers=("b",)))
    assert {(g.client, g.server) for g in groups} == {("a", "b")}
    about = build(["a", "b", "c"], CASES, Selection(about=("a",), chapters=("symmetry",)))
    assert all("a" in (g.client, g.server) for g in about)
    assert len(about) == 5 * 4


def test_globs_match_ids() -> None:
    chosen = select_cases(CASES, Selection(cases=("errors.*", "connect.tcp-*")))
    assert {case.chapter for case in chosen} == {"errors", "connect"}
    assert all(case.chapter == "errors" or case.id.startswith("connect.tcp-") for case in chosen)


def test_shards_share_out_every_cell_once() -> None:
    groups = build(["a", "b"], CASES, Selection())
    shares = [cells(shard(groups, number, 5)) for number in range(1, 6)]
    assert sorted(str(cell) for share in shares for cell in share) == sorted(map(str, cells(groups)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_every_chapter_has_cases_and_there_are_enough() -> None:
    assert {case.chapter for case in CASES} == set(CHAPTERS)
    assert len(CASES) >= 100


def test_every_case_quotes_a_requirement_of_its_kind() -> None:
    for case in CASES:
        assert case.title, case.id
        documents = {requirement.document for requirement in case.requirements}
        if case.kind is Kind.REFERENCE:
            assert documents & {"reference", "readme"}, case.id
        elif case.kind is Kind.PROFILE:
            assert "profile" in documents, case.id
        else:
            assert "guards" in documents, case.id


def test_every_sentence_that_promises_something_has_a_case_or_a_reason() -> None:
    covered = {requirement.name for case in CASES for requirement in case.requirements}
    testable = {name for name, requirement in REQUIREMENTS.items() if not requirement.untestable}
    assert covered == testable


def test_the_diagonal_has_every_case_of_every_pair_in_two_modes_or_in_those_that_it_has() -> None:
    groups = build(["a", "b"], CASES, Selection())
    whole, half = set(cells(groups)), set(cells(diagonal(groups)))
    assert half < whole
    assert {(c.client, c.server, c.case) for c in half} == {(c.client, c.server, c.case) for c in whole}
    modes = {(c.transport, c.security) for c in half if c.case == "request.echo"}
    assert modes == {("tcp", "secure"), ("unix", "insecure")}
    once = {case.id for case in CASES if case.once}
    assert once
    assert {(c.transport, c.security) for c in half if c.case in once} == {("unix", "insecure")}
    assert len(half) < 0.5 * len(whole)


def test_what_is_about_the_other_side_is_left_out() -> None:
    groups = build(["a", "b"], CASES, Selection(about=("a",)))
    subject = {case.id: case.subject for case in CASES}
    mine = cells(about(groups, "a"))
    left = set(cells(groups)) - set(mine)
    assert all(subject[c.case] == "either" or getattr(c, subject[c.case]) == "a" for c in mine)
    assert left
    assert all(getattr(c, subject[c.case]) != "a" for c in left)
