"""The folder of a meeting: which steps are done, and which peer it belongs to."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bokbok_meet.folder import DONE, Folder, FolderError


def test_what_became_of_a_step_is_known_to_the_next_run(tmp_path: Path) -> None:
    Folder(tmp_path / "new", "egg").note("versions", DONE, "bokbok 1")
    assert Folder(tmp_path / "new", "egg").state_of("versions") == {"state": DONE, "said": "bokbok 1"}


def test_a_step_can_be_forgotten(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "egg")
    folder.note("versions", DONE, "")
    folder.forget("versions")
    assert folder.state_of("versions") == {}


def test_a_folder_belongs_to_one_target(tmp_path: Path) -> None:
    Folder(tmp_path, "egg").note("versions", DONE, "")
    with pytest.raises(
        FolderError, match=r"belongs to a meeting with 'egg', not with 'another'; give another --folder"
    ):
        Folder(tmp_path, "another")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bokbok-meet": 1}'])
def test_a_state_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(FolderError, match="cannot be read"):
        Folder(tmp_path, "egg")


def test_the_passphrase_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    made = Folder(tmp_path, "egg").passphrase()
    assert made.startswith("throw-away-")
    assert Folder(tmp_path, "egg").passphrase() == made
    assert Folder(tmp_path / "other", "egg").passphrase() != made
    assert stat.S_IMODE((tmp_path / "passphrase.txt").stat().st_mode) == 0o600
