"""A CI system in small: plays the jobs of a workflow on this machine, as GitHub Actions would on one of its own.

What this module knows: `uses` of this project's reusable workflow and of its action, three actions of GitHub's
(`checkout`, `setup-python`, which brings nothing here, and `upload-artifact`), `run` with `env` and `shell`,
`if: always()`, and expressions that are one name (`${{ inputs.peer }}`). Anything else is an error, so that no workflow
is played in part.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["OURS", "ROOT", "Job", "copy_of_the_project", "load"]

ROOT = Path(__file__).parents[2]
OURS = "OWNER/bokbok"
"""How a page names the repository of this project."""

_SHELLS = {None: ["bash", "-e", "-c"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]}
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def load(text: str) -> dict[str, Any]:
    """A workflow. All its scalars are texts: `on` is not a boolean."""
    found: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return found


def copy_of_the_project(folder: Path) -> Path:
    """Copy the files of this project that git knows, as they are now. Returns the folder."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@dataclass
class Job:
    """One job, in a workspace of its own.

    Attributes:
        project: the repository whose workflow it is: what `checkout` brings.
        ours: a copy of this project: what its name (`OURS`) stands for.
        workspace: an empty folder to work in.
        environment: of the commands.
        inputs: what a caller has given.
        artifacts: the folders that were uploaded, by name.
        said: what the commands have printed.
    """

    project: Path
    ours: Path
    workspace: Path
    environment: Mapping[str, str]
    inputs: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    said: str = ""

    def play(self, job: Mapping[str, Any]) -> bool:
        """Play the steps of a job, or the jobs of the workflow that it uses. Returns whether it succeeded."""
        if "uses" not in job:
            return self._steps(job["steps"])
        workflow = load((self.ours / self._file(job["uses"])).read_text())
        self.inputs = self._given(workflow["on"]["workflow_call"]["inputs"], job["with"])
        (inner,) = workflow["jobs"].values()
        return self._steps(inner["steps"])

    @staticmethod
    def _file(uses: str) -> str:
        """The path in this project that `uses` names."""
        name, _, _ = uses.partition("@")
        assert name.startswith(OURS), f"{uses} is not played"
        return name.removeprefix(OURS).strip("/") or "action.yml"

    @staticmethod
    def _given(inputs: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
        assert set(given) <= set(inputs), "inputs that are not there"
        missing = {name for name, one in inputs.items() if one.get("required") == "true"} - set(given)
        assert not missing, f"inputs that are required: {missing}"
        return {name: one.get("default", "") for name, one in inputs.items()} | dict(given)

    def _value(self, text: str) -> str:
        def one(found: re.Match[str]) -> str:
            context, _, name = found[1].partition(".")
            if context == "inputs":
                return self.inputs[name]
            assert found[1] in ("job.workflow_repository", "job.workflow_sha"), f"{found[0]} is not played"
            return OURS if name == "workflow_repository" else "main"

        return _EXPRESSION.sub(one, text)

    def _steps(self, steps: list[dict[str, Any]]) -> bool:
        good = True
        for step in steps:
            assert step.get("if", "always()") == "always()", f"{step['if']} is not played"
            if good or "if" in step:
                good &= self._step(step)
        return good

    def _step(self, step: Mapping[str, Any]) -> bool:
        options = {name: self._value(value) for name, value in step.get("with", {}).items()}
        match step.get("uses", "").partition("@")[0]:
            case "":
                return self._run(step)
            case "actions/checkout":
                source = self.ours if options.get("repository") == OURS else self.project
                shutil.copytree(source, self.workspace / options.get("path", "."), dirs_exist_ok=True)
            case "actions/setup-python":
                pass  # the Python of this machine
            case "actions/upload-artifact":
                self.artifacts[options["name"]] = self.workspace / options["path"]
            case _:
                action = load((self.ours / self._file(step["uses"])).read_text())
                outer, self.inputs = self.inputs, self._given(action["inputs"], options)
                try:
                    assert action["runs"]["using"] == "composite"
                    return self._steps(action["runs"]["steps"])
                finally:
                    self.inputs = outer
        return True

    def _run(self, step: Mapping[str, Any]) -> bool:
        more = {name: self._value(value) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            [*_SHELLS[step.get("shell")], self._value(step["run"])],
            cwd=self.workspace,
            env={**os.environ, **self.environment, "CI": "true", "GITHUB_ACTION_PATH": str(self.ours), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.said += done.stdout
        return done.returncode == 0
