from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError
from rich.console import Console

from bokbok_interop.cases import REQUIREMENTS, all_cases
from bokbok_interop.cli import main
from bokbok_interop.model import Cell, Outcome, Result
from bokbok_interop.report import document as documents
from bokbok_interop.report import html, junit, terminal
from bokbok_interop.report.causes import failures
from bokbok_interop.report.compare import compare

CASES = [case for case in all_cases() if case.chapter == "errors"]
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


def make(outcomes: dict[str, Outcome] | None = None, repeat: int = 1, **more: Any) -> dict[str, Any]:
    outcomes = outcomes or {}
    results = more.pop("results", [])
    for number in range(0 if results else repeat):
        for case in CASES:
            outcome = outcomes.get(case.id, Outcome.PASSED)
            cell = Cell(f"peer{number % 7}", f"peer{number // 7 % 7}", ("tcp", "unix")[number % 2], "secure", case.id)
            evidence: dict[str, Any] = {"datums": [[0.1, "client", ">", '(1 request 1 "<b>&")']], "more": 0}
            if outcome is Outcome.FAILED:
                evidence |= {
                    "packets": [
                        {
                            "t": 0.1,
                            "from": "client",
                            "conn": 1,
                            "title": "request 0",
                            "problem": "",
                            "text": "(request 0 1)",
                            "ranges": [
                                {"offset": 0, "hex": "00000009", "length": 4, "layer": "framing", "note": "length 9"}
                            ],
                        }
                    ],
                    "dump": "a dump",
                    "client_log": "a log \x1b[31m </script><script>alert(1)</script>",
                    "server_log": "",
                }
            result = Result(
                cell, outcome, "" if outcome is Outcome.PASSED else f"why {case.id}", 0.5, evidence=evidence
            )
            if outcome is Outcome.FAILED:
                result.expected, result.actual = "this", "that \x00"
            results.append(result)
    settings = {
        "cases": CASES,
        "peers": [{"name": "peer0"}, {"name": "peer1", "absent": "not here"}],
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
        "command": ["run"],
        "profile": "inferred-1",
        "seed": 0,
        "planned": len(results),
        "interrupted": False,
    }
    return documents.build(results, **(settings | more))


MIXED = {CASES[0].id: Outcome.FAILED, CASES[1].id: Outcome.UNSUPPORTED, CASES[2].id: Outcome.ABSENT}


SCHEMA = json.loads((Path(documents.__file__).parent / "schema.json").read_text())


def check(document: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(document)))


def test_the_document_fits_its_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    check(make(MIXED))


def test_the_schema_notices() -> None:
    for spoil in ({"outcome": "great"}, {"transport": 7}, {"seconds": -1.0}, {"evidence": {"datums": [["x"]]}}):
        document = make()
        document["cells"][0] |= spoil
        with pytest.raises(ValidationError):
            check(document)


def test_the_summary_counts_every_outcome() -> None:
    assert make(MIXED)["summary"] == {"passed": len(CASES) - 3, "failed": 1, "unsupported": 1, "absent": 1}


def test_evidence_is_whole_for_failures_and_packed_for_passes() -> None:
    cells = {cell["case"]: cell for cell in make(MIXED)["cells"]}
    assert cells[CASES[0].id]["evidence"]["dump"] == "a dump"
    packed = cells[CASES[3].id]["packed"]
    assert documents.unpack(packed)["datums"][0][3] == '(1 request 1 "<b>&")'


def test_junit_says_failed_and_skipped_and_survives_control_characters(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_bytes(junit.render(make(MIXED)))
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == (str(len(CASES)), "1")
    assert len(root.findall(".//skipped")) == 2
    failure = root.find(".//failure")
    assert failure is not None
    assert "\\x1b" in (failure.text or "")
    assert "requirement:" in (failure.text or "")


def test_a_failure_points_at_the_sentence_that_broke_and_not_at_the_first_of_its_case(tmp_path: Path) -> None:
    result = Result(Cell("a", "b", "tcp", "secure", CASES[0].id), Outcome.FAILED, "why", sentence="start.close-handler")
    document = make(results=[result])
    cell = document["cells"][0]
    assert cell["requirement"]["text"].startswith("close-handler is a callback closure")
    check(document)
    (tmp_path / "r.xml").write_bytes(junit.render(document))
    console = Console(record=True, width=200, file=io.StringIO())
    terminal.print_failures(console, document)
    for shown in ((tmp_path / "r.xml").read_text(), console.export_text()):
        assert "close-handler is a callback closure" in shown
        assert "docs/egg-reference.md#start.close-handler" in shown


def _failed(case: str, reason: str, sentence: str = "", server: str = "b") -> Result:
    return Result(Cell("a", server, "tcp", "secure", case), Outcome.FAILED, reason, sentence=sentence)


def _panels(results: list[Result]) -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    terminal.print_failures(console, make(results=results))
    return console.export_text()


def test_cases_that_fail_at_one_sentence_are_one_failure_and_others_are_not() -> None:
    same = [_failed(case.id, "no close handler", "start.close-handler") for case in CASES[:3]]
    shown = _panels([*same, _failed(CASES[3].id, "something else")])
    assert shown.count("╭─") == 2
    assert f"✗ {CASES[0].id} and 2 more cases" in shown
    assert CASES[2].id in shown


def test_a_puppet_that_does_not_start_is_one_failure_with_its_log() -> None:
    results = [_failed(case.id, "b was given up: its puppet does not start: exited with status 3") for case in CASES]
    results[0].evidence = {"server_log": "starting\nno such file: config\n"}
    shown = _panels(results)
    assert shown.count("╭─") == 1
    assert "no such file: config" in shown
    assert "requirement" not in shown  # no sentence of the reference is about that


@pytest.mark.parametrize("width", [140, 60])
def test_the_matrix_tells_peers_apart_wide_and_narrow(width: int) -> None:
    names = ["python-sync", "python-asyncio", "chicken5", "minimal"]
    results = [
        Result(Cell(a, b, "tcp", "secure", case.id), Outcome.PASSED) for a in names for b in names for case in CASES
    ]
    console = Console(record=True, width=width, file=io.StringIO())
    terminal.print_matrix(console, make(results=results, peers=[{"name": name} for name in names]))
    lines = console.export_text().splitlines()
    header = re.split("[┃│]", lines[1])[2:-1]
    assert len({name.strip() for name in header}) == len(names)
    assert not any("…" in line for line in lines)
    for name in names:
        assert any(name in line for line in lines)


def test_a_failure_that_many_cells_share_is_told_a_few_times() -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    progress = terminal.PlainProgress(console)
    progress.planned(1_000)
    for number in range(100):
        progress.finished(_failed(CASES[0].id, "the same", server=f"b{number}"))
    lines = [line for line in console.export_text().splitlines() if "✗" in line]
    assert len(lines) < 10
    assert "and more for the same reason: the same" in lines[-1]


def test_merging_keeps_every_cell_and_the_worse_of_two() -> None:
    merged = documents.merge([make(), make({CASES[0].id: Outcome.FAILED})])
    assert merged["summary"]["failed"] == 1
    assert len(merged["cells"]) == len(CASES)
    assert merged["planned"] == 2 * len(CASES)


def test_a_shard_that_is_missing_is_not_overlooked(tmp_path: Path) -> None:
    files = []
    for shard in ("1/3", "2/3"):
        files.append(str(tmp_path / f"{shard[0]}.json"))
        Path(files[-1]).write_text(json.dumps(make(shard=shard)))
    refused = CliRunner().invoke(main, ["merge", *files], catch_exceptions=False)
    assert refused.exit_code == 2
    assert "missing: 3/3" in refused.output
    assert CliRunner().invoke(main, ["merge", "--partial", *files], catch_exceptions=False).exit_code == 0
    assert documents.missing_shards([make(), make()]) == []
    with pytest.raises(documents.DocumentError, match="different runs"):
        documents.missing_shards([make(shard="1/3"), make(shard="1/4")])


def test_results_of_two_profiles_do_not_merge() -> None:
    with pytest.raises(documents.DocumentError, match="profiles"):
        documents.merge([make(), make(profile="other")])


def test_a_comparison_tells_worse_better_new_and_gone() -> None:
    old, new = make({CASES[0].id: Outcome.FAILED}), make({CASES[1].id: Outcome.FAILED})
    new["cells"][-1] = {**new["cells"][-1], "case": "errors.brand-new"}
    found = compare(old, new)
    assert [change[0][4] for change in found.better] == [CASES[0].id]
    assert [change[0][4] for change in found.worse] == [CASES[1].id]
    assert [entry[0][4] for entry in found.new] == ["errors.brand-new"]
    assert [entry[0][4] for entry in found.gone] == [CASES[-1].id]
    assert found.bad
    assert not compare(new, new).bad


def test_diff_and_merge_as_commands(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(make()))
    bad.write_text(json.dumps(make(MIXED)))
    run = lambda *words: CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)  # noqa: E731
    assert run("diff", good, good).exit_code == 0
    worse = run("diff", good, bad)
    assert worse.exit_code == 1
    assert CASES[0].id in worse.output
    assert run("diff", bad, good).exit_code == 0
    assert run("merge", good, bad, "--json", tmp_path / "m.json").exit_code == 1
    assert json.loads((tmp_path / "m.json").read_text())["summary"]["failed"] == 1
    nothing = tmp_path / "nothing.json"
    nothing.write_text("{}")
    refused = run("diff", good, nothing)
    assert refused.exit_code == 2
    assert "holds no results" in refused.output


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--coverage"], ["list", "--json"], ["list", "--coverage", "--json"], ["list", "--ids"]]
)
def test_list_shows_cases_and_sentences(words: list[str]) -> None:
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0
    if "--json" in words:
        assert len(json.loads(result.output)) > 70
    elif "--ids" in words:
        assert len(result.output.split()) >= 200
    else:
        assert "connect" in result.output


def test_a_list_that_is_not_for_a_terminal_has_one_line_for_each_case() -> None:
    lines = CliRunner().invoke(main, ["list", "--chapter", "errors"]).output.splitlines()
    assert (
        lines[1]
        == "errors.remote-message\treference\tThe remote error's message says what went wrong at the other end."
    )
    assert [line.count("\t") for line in lines] == [2] * len(lines)


def test_the_coverage_shows_sentences_that_no_case_checks() -> None:
    result = CliRunner().invoke(main, ["list", "--coverage", "--case", "connect.tcp-string", "--json"])
    cases = {entry["name"]: entry["cases"] for entry in json.loads(result.output)}
    assert cases["open.tcp"] == ["connect.tcp-string"]
    assert cases["open.unix"] == []
    assert "NONE" in CliRunner().invoke(main, ["list", "--coverage", "--case", "connect.tcp-string"]).output


# ------------------------------------------------------------------------------------------------------- the page


def test_the_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_bytes(html.render(make(MIXED)))
    text = (tmp_path / "r.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!data:)[a-z/]""", text)
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert text.count("<script") == 3


def test_the_page_has_the_same_failures_as_the_terminal_in_the_same_order() -> None:
    alike = [_failed(case.id, f"request {number} was not answered") for number, case in enumerate(CASES[:3])]
    document = make(results=[*alike, _failed(CASES[3].id, "something else")])
    for cell in document["cells"]:
        cell["requirement"] = documents.sentence(REQUIREMENTS["request.message"])
    page = html.render(document).decode()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    groups: dict[int, set[str]] = {}
    for cell in data["cells"]:
        groups.setdefault(cell[9]["failure"], set()).add(data["cases"][cell[4]]["id"])
    shown = [{cell["case"] for cell in cells} for cells in failures(document)]
    assert [groups[number] for number in sorted(groups)] == shown
    assert [len(cases) for cases in shown] == [3, 1]


def test_nothing_in_a_result_can_leave_its_place_in_the_page() -> None:
    document = make(MIXED)
    document["cells"][0]["reason"] = "</script><script>alert(1)</script><!--"
    document["peers"][1]["absent"] = "<img src=x onerror=alert(1)>"
    text = html.render(document).decode()
    assert "<script>alert" not in text
    assert "<img" not in text


def _browse(page: Path, tmp_path: Path, actions: str, size: str = "1400,900", *flags: str) -> dict[str, Any]:
    """Open a page in a real browser, run a script in it, and return what the script noted."""
    script = (
        "addEventListener('load', async () => { const note = {};"
        "const wait = ms => new Promise(r => setTimeout(r, ms));"
        f"try {{ {actions} }} catch (error) {{ note.error = String(error); }}"
        "const out = document.createElement('pre'); out.id = 'note';"
        "out.textContent = JSON.stringify(note); document.body.append(out); });"
    )
    # The page's policy does not allow any other script: this one is allowed by its hash.
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = page.read_text().replace("script-src ", f"script-src 'sha256-{allowed}' ", 1)
    text = text.replace("</body>", f"<script>{script}</script></body>")
    copy = tmp_path / f"{page.stem}-{abs(hash((actions, size, flags)))}.html"
    copy.write_text(text)
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={size}",
            "--virtual-time-budget=8000",
            *flags,
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = re.search(r'<pre id="note">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-1_000:]
    import html as escapes

    note: dict[str, Any] = json.loads(escapes.unescape(found[1]))
    assert "error" not in note, note["error"]
    return note


browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here (apt-get install chromium)")


@browser
def test_in_a_browser_the_matrix_filters_search_and_evidence_work(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_bytes(html.render(make(MIXED)))
    note = _browse(
        tmp_path / "r.html",
        tmp_path,
        """
        note.rows = document.querySelectorAll('.row').length;
        note.first = document.querySelector('.row').textContent;
        note.square = document.querySelector('[data-pair]').textContent;
        document.querySelectorAll('[data-outcome]')[0].click();
        note.notPassed = document.getElementById('count').textContent;
        document.getElementById('reset').click();
        const search = document.getElementById('search');
        search.value = 'CASE0'; search.dispatchEvent(new Event('input'));
        note.found = document.getElementById('count').textContent;
        document.querySelector('.row').click(); await wait(500);
        note.detail = document.getElementById('detail').textContent; note.open = document.body.className;
        document.querySelector('#detail a').click();
        note.quoted = document.getElementById('documents').open;
        dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'})); note.closed = document.body.className;
        """.replace("CASE0", CASES[0].id),
    )
    assert note["rows"] == len(CASES)
    assert "✗" in note["first"]  # failures come first
    assert "✗1" in note["square"]
    assert note["notPassed"] == f"3 of {len(CASES)} cells"
    assert note["found"] == f"1 of {len(CASES)} cells"
    for words in ("Requirement", "this", "that", "framing: length 9", "a log", "alert(1)", CASES[0].requirement.text):
        assert words in note["detail"]
    assert CASES[0].requirement.link in note["detail"]
    assert note["quoted"]
    assert (note["open"], note["closed"]) == ("open", "")


@browser
@pytest.mark.parametrize("size", ["1400,900", "500,800"])
@pytest.mark.parametrize("flags", [[], ["--blink-settings=preferredColorScheme=0"]])
def test_in_a_browser_it_reads_wide_and_narrow_light_and_dark(tmp_path: Path, size: str, flags: list[str]) -> None:
    (tmp_path / "r.html").write_bytes(html.render(make(MIXED)))
    note = _browse(
        tmp_path / "r.html", tmp_path,
        """
        const part = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
        const lum = c => { const [r, g, b] = c.match(/[0-9.]+/g).map(Number).map(part);
          return .2126 * r + .7152 * g + .0722 * b; };
        const ratio = (a, b) => { const [x, y] = [lum(a), lum(b)].sort((m, n) => n - m);
          return (x + .05) / (y + .05); };
        const ground = getComputedStyle(document.body).backgroundColor;
        note.ground = ground;
        note.contrast = Math.min(...['.passed', '.failed', '.unsupported', '.absent', '.dim'].map(
          s => ratio(getComputedStyle(document.querySelector(s)).color, ground)));
        note.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        """,
        size, *flags,
    )  # fmt: skip
    assert (note["ground"] == "rgb(22, 21, 20)") == bool(flags)  # dark only where it is asked for
    assert note["contrast"] >= 4.5
    assert note["overflow"] <= 0


@browser
def test_in_a_browser_ten_thousand_cells_are_drawn_as_far_as_they_are_seen(tmp_path: Path) -> None:
    document = make(MIXED, repeat=10_000 // len(CASES) + 1)
    total = len(document["cells"])
    assert total >= 10_000
    (tmp_path / "big.html").write_bytes(html.render(document))
    note = _browse(
        tmp_path / "big.html", tmp_path,
        """
        const list = document.getElementById('list'), search = document.getElementById('search');
        note.rows = document.querySelectorAll('.row').length;
        list.scrollTop = list.scrollHeight; list.onscroll(); await wait(200);
        note.last = Math.max(...[...document.querySelectorAll('.row')].map(row => +row.dataset.i));
        note.rowsAtTheEnd = document.querySelectorAll('.row').length;
        search.value = 'zzz'; search.oninput({target: search});
        note.none = document.querySelectorAll('.row').length;
        note.hint = !document.getElementById('empty').hidden;
        """,
    )  # fmt: skip
    assert note["rows"] < 200
    assert note["rowsAtTheEnd"] < 200
    assert note["last"] == total - 1
    assert (note["none"], note["hint"]) == (0, True)


@browser
def test_in_a_browser_tiles_sentences_and_keys_lead_to_what_failed(tmp_path: Path) -> None:
    document = make(MIXED)
    failed = next(cell for cell in document["cells"] if cell["outcome"] == "failed")
    failed["requirement"] = documents.sentence(REQUIREMENTS["start.close-handler"])
    (tmp_path / "r.html").write_bytes(html.render(document))
    note = _browse(
        tmp_path / "r.html", tmp_path,
        """
        const press = key => dispatchEvent(new KeyboardEvent('keydown', {key}));
        const count = () => document.getElementById('count').textContent;
        const tile = document.querySelector('.tiles .t-failed');
        note.tile = tile.textContent + ' ' + tile.title;
        tile.click(); note.chapter = count() + ' ' + document.getElementById('chapter').value; tile.click();
        const sentence = document.querySelector('#broken button');
        note.sentence = sentence.textContent; sentence.click(); note.bySentence = count(); sentence.click();
        press('f'); note.failures = count();
        press('ArrowDown'); press('Enter'); await wait(500);
        note.broke = document.querySelector('blockquote.broke').textContent;
        note.hash = decodeURIComponent(location.hash);
        """,
    )  # fmt: skip
    assert note["tile"].startswith("✗ errors: ")
    assert note["chapter"] == f"{len(CASES)} of {len(CASES)} cells errors"
    assert "✗ 1 case, 1 cell" in note["sentence"]
    assert note["bySentence"] == note["failures"] == f"1 of {len(CASES)} cells"
    assert "close-handler is a callback closure" in note["broke"]
    assert "without=passed,unsupported,absent" in note["hash"]
    assert "cell=0" in note["hash"]


@browser
def test_in_a_browser_the_address_brings_back_what_was_looked_at(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_bytes(html.render(make(MIXED)))
    note = _browse(
        tmp_path / "r.html", tmp_path,
        """
        location.hash = '#text=' + 'CASE' + '&cell=NUMBER'; await wait(800);
        note.count = document.getElementById('count').textContent;
        note.title = document.querySelector('#detail h2').textContent;
        location.hash = '#pair=no/such&cell=99999&without=nonsense'; await wait(300);
        note.all = document.getElementById('count').textContent;
        """.replace("CASE", CASES[3].id).replace("NUMBER", "3"),
    )  # fmt: skip
    assert note["count"] == f"1 of {len(CASES)} cells"
    assert CASES[3].id in note["title"]
    assert note["all"] == f"{len(CASES)} of {len(CASES)} cells"
