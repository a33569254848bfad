"""Examples that install something, played by a reader who has a Python and a folder of wheels instead of an index.

The wheels are built and fetched once (`conftest.py`); without an index these tests are skipped, and say why. Where a
page plays all cases, one case is played here.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import docker
import pytest

from bokbok.wire import INFERRED_1, get_profile
from bokbok_interop.peers.images import inspect_image
from tests.chicken.conftest import find_chicken
from tests.support.pages import blocks, play
from tests.support.running import output_of
from tests.support.stand_in_eggs import build
from tests.support.workflows import ROOT, Job, copy_of_the_project, load

DOCS = ROOT / "docs"
EXAMPLE = ROOT / "interop" / "examples" / "minimal"
LESS = "--case request.echo"
REPORTS = {"index.html", "results.json", "results.xml"}

pytestmark = pytest.mark.timeout(600)  # pip, and the first time a compiler


def fence(page: str, begin: str) -> str:
    (text,) = (one.text for one in blocks((DOCS / page).read_text(encoding="utf-8")) if one.text.startswith(begin))
    return text


def shell(script: str, folder: Path, bare: dict[str, str]) -> str:
    return output_of(["bash", "-euc", script], folder, bare)


@pytest.fixture
def activated(bare: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """As `bare`, in a new virtual environment."""
    shell("python3 -m venv own", tmp_path, bare)
    return {**bare, "PATH": f"{tmp_path / 'own' / 'bin'}{os.pathsep}{bare['PATH']}"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's repository: `make my-puppet` makes their puppet, and `make broken` one that ends at once."""
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder / "peer", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "Makefile").write_text(
        f"my-puppet:\n\tprintf '#!/bin/sh\\nexec \"{sys.executable}\" peer/puppet.py\\n' > $@ && chmod +x $@\n"
        "broken:\n\tprintf '#!/bin/sh\\nexit 3\\n' > $@ && chmod +x $@\n"
    )
    return folder


# -- as a user


def test_the_tutorial_by_its_text_alone(bare: dict[str, str], tmp_path: Path) -> None:
    pages = [DOCS / "tutorial" / f"{name}.md" for name in ("service", "secure", "callbacks", "tested")]
    played = play(tmp_path / "board", pages, ports=[8000, 8001], bare=bare, start=ROOT)
    assert played >= 23
    assert (tmp_path / "bokbok-tutorial").is_dir()


def test_the_accelerator_is_installed(activated: dict[str, str], wheels: Path) -> None:
    if shutil.which("cargo") is None:
        pytest.skip("there is no cargo here")
    from_index, from_clone = fence("native.md", "pip install").splitlines()
    there = {**activated, "HOME": os.environ["HOME"]}  # rustup has its toolchains there
    assert "codec: native" not in shell("pip install -q .\nbokbok --version", ROOT, there)
    assert "codec: native" in shell(f"{from_clone}\nbokbok --version", ROOT, there)
    shell(f"pip wheel -q --no-deps -w {wheels} ./native\npip uninstall -q -y bokbok bokbok-native", ROOT, there)
    assert "codec: native" in shell(f"{from_index}\nbokbok --version", ROOT, there)


def test_the_one_command_that_meets_an_egg(bare: dict[str, str], tmp_path: Path) -> None:
    """`make real-egg` with a stand-in for the egg, and one case of the matrix."""
    find_chicken("chicken5")
    egg = tmp_path / "egg"
    egg.write_text(f"#!/bin/sh\nexec {shlex.join(build('lists').command('puppet'))}\n")
    egg.chmod(0o755)
    folder = tmp_path / "meeting"
    less = f"--name lists --folder {folder} --case request.echo --transport unix"
    command = fence("calibrating.md", "make real-egg").rstrip()
    shell(f"{command} VENV={tmp_path / 'own'} EGG={egg} ARGS='{less}'", ROOT, bare)
    assert get_profile(str(folder / "lists.toml")).framing != INFERRED_1.framing


# -- as the author of another implementation


def test_the_first_commands_and_the_plugin(activated: dict[str, str], project: Path) -> None:
    first = re.sub(r"(?m)^(bokbok-interop [^#\n]*)", rf"\1{LESS} ", fence("../interop/README.md", "pip install"))
    assert first.count(LESS) == 2
    shell(f"make -s my-puppet\n{first}", project, activated)
    script = fence("howto/ci.md", "pip install").rstrip() + " --bokbok-case request.echo"
    assert " passed" in shell(script, project, activated)


def test_the_script_of_the_step(bare: dict[str, str], project: Path) -> None:
    script = fence("howto/ci.md", "tools/check-peer").rstrip().replace("tools", f"{ROOT}/tools")
    shell(f"make -s my-puppet\n{script} {LESS}", project, bare)
    assert {file.name for file in (project / "results").iterdir()} == REPORTS


@pytest.mark.parametrize(
    ("begin", "target"), [("on: [push", "my-puppet"), ("on: [push", "broken"), ("steps:", "my-puppet")]
)
def test_the_steps_for_a_ci_system(
    bare: dict[str, str], project: Path, tmp_path: Path, begin: str, target: str
) -> None:
    page = load(fence("howto/ci.md", begin).replace("my-puppet", target))
    (job,) = page["jobs"].values() if "jobs" in page else [page]
    with_ours = job if "uses" in job else job["steps"][-1]
    with_ours["with"]["arguments"] = LESS
    ours, workspace = tmp_path / "ours", tmp_path / "workspace"
    here = Job(project, copy_of_the_project(ours), workspace, bare)
    assert here.play(job) == (target == "my-puppet"), here.said
    if "jobs" in page:
        assert {file.name for file in here.artifacts["bokbok-results"].iterdir()} == REPORTS
    else:
        assert {file.name for file in (workspace / "bokbok-results").iterdir()} == REPORTS


def test_an_image_is_a_peer(client: Any, project: Path) -> None:
    if inspect_image(client, "bokbok/python") is None:
        pytest.skip("there is no image bokbok/python here (`make images` builds it)")
    image = f"bokbok-test-{secrets.token_hex(4)}"
    (project / "Dockerfile").write_text('FROM bokbok/python\nCOPY peer /peer\nCMD ["python", "/peer/puppet.py"]\n')
    try:
        said = list(client.build(path=str(project), tag=image, rm=True, decode=True))
        assert inspect_image(client, image) is not None, said
        ours = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        shorter = f"{LESS} --peers python-sync --transport unix --security insecure"
        fences = [
            fence(page, "bokbok-interop check docker:")
            for page in ("howto/your-implementation.md", "../interop/README.md")
        ]
        lines = dict.fromkeys("".join(fences).replace("me/my-peer", image).splitlines())  # each once
        assert len(lines) == 3
        for line in lines:
            shell(f"{line} {LESS if ' check ' in line else shorter}", project, ours)
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.remove_image(image, force=True)
