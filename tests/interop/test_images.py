"""Where images come from: base images, digests of sources, and when one is outdated."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from bokbok_interop.peers.images import SOURCES_LABEL, ImageSource, _outdated, base_images, context_files, digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM debian:bookworm-slim\n", ["debian:bookworm-slim"]),
        ("ARG BASE=debian:12\nFROM ${BASE} AS build\nFROM $BASE\nCOPY --from=build /a /a\n", ["debian:12"]),
        ('ARG A="x"\nARG B\nFROM a:$A\nARG A=y\nFROM b:$A\n', ["a:x", "b:x"]),
        ("from --platform=linux/amd64 one as two\nFROM two\n", ["one"]),
        ("FROM scratch\nFROM \\\n  three\n", ["three"]),
    ],
)
def test_the_base_images_of_a_dockerfile(text: str, expected: list[str]) -> None:
    assert base_images(text) == expected


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "build").mkdir()
    for name in ("Dockerfile", "src/a.scm", "build/a.o"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# what is built\nbuild\n")
    return tmp_path


SOURCE = ImageSource("bokbok/x", ".")


def of(context: Path, source: ImageSource = SOURCE) -> str:
    return digest(context, context_files(context, source.dockerfile), source)


def test_ignored_files_are_not_sources(context: Path) -> None:
    names = [str(path.relative_to(context)) for path in context_files(context, "Dockerfile")]
    assert names == ["Dockerfile", "src/a.scm"] or names == [".dockerignore", "Dockerfile", "src/a.scm"]


def test_the_digest_changes_with_a_source(context: Path) -> None:
    before = of(context)
    (context / "build" / "a.o").write_text("built again")
    os.utime(context / "src" / "a.scm", (1, 1))
    assert of(context) == before
    (context / "src" / "a.scm").write_text("changed")
    assert of(context) != before


def test_the_digest_changes_with_names_and_modes(context: Path) -> None:
    seen = {of(context), of(context, ImageSource("bokbok/x", ".", target="other"))}
    (context / "src" / "a.scm").chmod(0o755)
    seen.add(of(context))
    (context / "src" / "a.scm").rename(context / "src" / "b.scm")
    seen.add(of(context))
    assert len(seen) == 4


def image(created: float, tagged: float | None = None, **labels: str) -> dict[str, object]:
    def text(seconds: float) -> str:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")

    return {
        "Created": text(created),
        "Config": {"Labels": labels or None},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z" if tagged is None else text(tagged)},
    }


def test_an_image_of_ours_is_outdated_when_the_digest_differs(context: Path) -> None:
    files = context_files(context, "Dockerfile")
    assert _outdated(image(1, **{SOURCES_LABEL: "abc"}), "abc", files) is None
    assert _outdated(image(1e10, **{SOURCES_LABEL: "abc"}), "abd", files) == "they have changed since"


def test_an_image_made_by_hand_is_outdated_when_a_source_is_younger(context: Path) -> None:
    files = context_files(context, "Dockerfile")
    for path in files:
        os.utime(path, (1_000_000, 1_000_000))
    assert _outdated(image(1_000_010), "abc", files) is None
    os.utime(context / "src" / "a.scm", (1_000_020, 1_000_020))
    assert _outdated(image(1_000_010), "abc", files) == "a.scm is newer"
    # A build that finds all of it in the cache makes no new image, and tags the old one.
    assert _outdated(image(1_000_010, tagged=1_000_030), "abc", files) is None


def test_the_command_by_hand() -> None:
    source = ImageSource("bokbok/chicken4", "chicken-reference", target="chicken4")
    assert (
        source.command()
        == "docker build -f chicken-reference/Dockerfile --target chicken4 -t bokbok/chicken4 chicken-reference"
    )
