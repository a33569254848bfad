"""The steps of a meeting, in order. Each says what it does, and is not done twice.

A step may need others. If one of those is not done, the step is left out, and says so. Calibration and the matrix run
as commands that you can also run by hand, so that their files in the folder are those that the manual describes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bokbok
from bokbok.errors import BokbokError
from bokbok.wire import Profile, get_profile, passphrase_to_key
from bokbok.wire.profile import dump_profile
from bokbok_calibrate.script import SCRIPT
from bokbok_calibrate.verify import Mismatch, prove
from bokbok_interop.peers.base import Peer, PuppetFault, Unavailable
from bokbok_interop.peers.puppet import Puppet
from bokbok_traffic.recording import load_recording

from . import report
from .conversations import USER, Played, ask_ours, ask_server, record
from .folder import DONE, FAILED, LEFT_OUT, Folder
from .target import Target

__all__ = ["SECURITIES", "Meeting", "Options", "step_names"]

SECURITIES = ("secure", "insecure")


class _StepFailed(Exception):
    """A step failed; the text says why."""


class _LeftOut(Exception):
    """Something that a step needs is missing; the text says what."""


@dataclass(frozen=True)
class Options:
    """What a meeting was asked for.

    Attributes:
        user: a user who may connect to a server of which only the address is known.
        passphrase_file: the file with that user's passphrase; `None`: that server is insecure.
        matrix: options for `bokbok-interop run` that narrow the matrix.
    """

    user: str = USER
    passphrase_file: str | None = None
    matrix: Sequence[str] = ()


@dataclass(frozen=True)
class _Step:
    name: str
    what: str
    run: Callable[[Meeting], str]
    needs: tuple[str, ...] = ()
    puppet: bool = True
    """Whether it needs a peer that can be started and steered."""
    address: bool = False
    """Whether it can be done with the address of a server instead."""


class Meeting:
    """One meeting.

    Args:
        target: the peer.
        folder: the folder for the files.
        options: what was asked for.
        say: called with lines about progress.
    """

    def __init__(self, target: Target, folder: Folder, options: Options, say: Callable[[str], None]) -> None:
        self.target, self.folder, self.options, self.say = target, folder, options, say

    def run(self, again: Sequence[str] = ()) -> bool:
        """Do every step that is not done.

        Args:
            again: steps to do again, together with the steps that need them.

        Returns:
            Whether no step failed.
        """
        for step in _STEPS:
            if step.name in again or any(need in again for need in step.needs):
                again = [*again, step.name]
                self.folder.forget(step.name)
        for step in _STEPS:
            if self.folder.state_of(step.name).get("state") == DONE:
                self.say(f"{step.name}: done before: {self.folder.state_of(step.name)['said']}")
                continue
            self.say(f"{step.name}: {step.what}")
            state, said = self._tried(step)
            self.folder.note(step.name, state, said)
            self.say(f"  {state}: {said}")
        self.folder.write("README.md", report.text(self, [(step.name, step.what) for step in _STEPS]))
        self.say(f"the folder {str(self.folder.path)!r} can be sent; its README.md says what is in it and what is open")
        return not any(self.folder.state_of(step.name).get("state") == FAILED for step in _STEPS)

    def _tried(self, step: _Step) -> tuple[str, str]:
        if step.puppet and self.target.address is not None and not step.address:
            return LEFT_OUT, "only the address of a server is known; this needs a peer that can be started"
        for need in step.needs:
            if self.target.address is not None and need in _FOR_PUPPETS:
                continue  # an address has its own way to the same end
            if self.folder.state_of(need).get("state") != DONE:
                return LEFT_OUT, f"it needs {need}, which is not done"
        try:
            return DONE, step.run(self)
        except _LeftOut as why:
            return LEFT_OUT, str(why)
        except (_StepFailed, PuppetFault, Unavailable, BokbokError, OSError, asyncio.TimeoutError) as why:
            return FAILED, str(why) or type(why).__name__

    # -- what the steps share

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        """The peer, prepared."""
        peer = self.target.peer()
        peer.note = self.say
        try:
            await peer.prepare()
            yield peer
        finally:
            await peer.dispose()

    def command(self, *words: str, log: str) -> int:
        """Run a command of `bokbok-interop` with its output in a file of the folder. Returns its exit status."""
        with open(self.folder.file(log), "wb") as out:
            done = subprocess.run(
                [sys.executable, "-m", "bokbok_interop", *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        return done.returncode

    def passphrase_file(self) -> Path | None:
        """The file with the passphrase of secure connections; `None`: there are no secure connections."""
        if self.target.address is None:
            self.folder.passphrase()
            return self.folder.file("passphrase.txt")
        return None if self.options.passphrase_file is None else Path(self.options.passphrase_file)

    def passphrase(self, security: str) -> bytes | None:
        """The passphrase of connections of this kind; `None` for insecure ones.

        Raises:
            _LeftOut: only the server's address is known, and it does not accept connections of this kind.
        """
        file = self.passphrase_file()
        if self.target.address is not None and (security == "secure") != (file is not None):
            raise _LeftOut(
                f"the server is taken as {'in' if file is None else ''}secure, since --passphrase-file says so"
            )
        if security == "insecure":
            return None
        assert file is not None
        return file.read_bytes().rstrip(b"\r\n")

    @property
    def user(self) -> str:
        """The username of the client."""
        return USER if self.target.address is None else self.options.user

    def found(self, security: str) -> Path:
        """The file of the profile that was found for connections of this kind."""
        whole = self.folder.file(f"{self.target.name}.toml")
        return whole if whole.exists() else self.folder.file(f"{self.target.name}-{security}.toml")

    def calibrated(self, security: str) -> dict[str, Any]:
        """What calibration said about connections of this kind; empty if nothing."""
        try:
            document = json.loads(self.folder.file(f"calibrate-{security}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}


def _versions(meeting: Meeting) -> str:
    about: dict[str, Any] = {
        "bokbok": bokbok.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "target": meeting.target.text,
    }
    said = f"bokbok {bokbok.__version__}; of the server nothing but its address is known"
    if meeting.target.address is None:

        async def ask() -> dict[str, Any]:
            async with meeting.peer() as peer:
                puppet = await Puppet(await peer.start(alone=True)).start()
                await puppet.close()
                return {
                    **peer.describe(),
                    "puppet": [puppet.name, puppet.version],
                    "features": puppet.features.words(),
                }

        about["peer"] = asyncio.run(ask())
        said = f"bokbok {bokbok.__version__} meets {' '.join(about['peer']['puppet'])}"
    meeting.folder.write("versions.json", json.dumps(about, indent=1, default=str) + "\n")
    return said


def _script(meeting: Meeting) -> str:
    meeting.folder.write("script.txt", "".join(f"{line}\n" for line in SCRIPT))
    return f"{len(SCRIPT)} requests in script.txt"


def _record(security: str) -> Callable[[Meeting], str]:
    def run(meeting: Meeting) -> str:
        passphrase = meeting.passphrase(security)

        async def talk() -> str:
            async with meeting.peer() as peer:
                capture, played = await record(peer, None if passphrase is None else passphrase.decode("ascii"))
            capture.write(meeting.folder.file(f"{security}.jsonl"))
            return (
                f"{capture.size} bytes of {len(capture.connections())} connections in {security}.jsonl; {played.text()}"
            )

        return asyncio.run(talk())

    return run


def _calibrate(security: str) -> Callable[[Meeting], str]:
    def run(meeting: Meeting) -> str:
        meeting.passphrase(security)  # if there is none, nothing is to be done
        words = ["calibrate"]
        if meeting.target.address is None:
            words += ["read", str(meeting.folder.file(f"{security}.jsonl"))]
        else:
            words += ["probe", meeting.target.text, "--record", str(meeting.folder.file(f"{security}.jsonl"))]
        if security == "insecure":
            words += ["--insecure"]
        else:
            words += ["--user", meeting.user, "--passphrase-file", str(meeting.passphrase_file())]
        profile = meeting.folder.file(f"{meeting.target.name}-{security}.toml")
        words += ["--out", str(profile)]
        words += [f"--{kind}={meeting.folder.file(f'calibrate-{security}.{kind}')}" for kind in ("html", "json")]
        status = meeting.command(*words, log=f"calibrate-{security}.txt")
        verdict = str(meeting.calibrated(security).get("verdict", f"see calibrate-{security}.txt"))
        if status not in (0, 3) or not profile.exists():
            raise _StepFailed(f"no profile was found (status {status}): {verdict}")
        return f"{verdict}: {profile.name}; the page is calibrate-{security}.html"

    return run


def _profile(meeting: Meeting) -> str:
    found = {
        security: get_profile(str(meeting.folder.file(f"{meeting.target.name}-{security}.toml")))
        for security in SECURITIES
        if meeting.folder.state_of(f"calibrate-{security}").get("state") == DONE
    }
    if not found:
        raise _LeftOut("no calibration found a profile")
    whole = meeting.folder.file(f"{meeting.target.name}.toml")
    whole.unlink(missing_ok=True)
    if len(found) == 1:
        (security,) = found
        meeting.folder.write(whole.name, dump_profile(dataclasses.replace(found[security], name=meeting.target.name)))
        return f"{whole.name}, of {security} connections alone"
    one = dataclasses.replace(_joined(found["secure"], found["insecure"]), name=meeting.target.name)
    try:
        _prove(meeting, one)
    except (Mismatch, BokbokError, OSError) as why:
        return f"one for secure and one for insecure connections, since no profile explains both: {why}"
    meeting.folder.write(whole.name, dump_profile(one))
    return f"{whole.name}: it writes every byte of both recordings again"


def _joined(secure: Profile, insecure: Profile) -> Profile:
    """The profile of the secure connections, completed by what only insecure ones show."""
    return dataclasses.replace(
        secure,
        hello=_with(secure.hello, insecure.hello, "insecure", "insecure_preamble"),
        packets=_with(secure.packets, insecure.packets, "plain"),
    )


def _with(strategy: Any, other: Any, *fields: str) -> Any:
    """A strategy with these fields of another strategy, as far as they differ."""
    changes = {field: getattr(other, field) for field in fields if getattr(other, field) != getattr(strategy, field)}
    return dataclasses.replace(strategy, **changes) if changes else strategy


def _prove(meeting: Meeting, profile: Profile) -> None:
    for security in SECURITIES:
        passphrase = meeting.passphrase(security)
        user = None if passphrase is None else os.fsencode(meeting.user)
        key = None if passphrase is None else passphrase_to_key(passphrase, profile=profile).to_bytes()
        for recorded in load_recording(meeting.folder.file(f"{security}.jsonl")).connections:
            prove(profile, recorded, user, key)


def _speak(
    talk: Callable[[Meeting, str, Profile], Coroutine[Any, Any, Played]], security: str
) -> Callable[[Meeting], str]:
    def run(meeting: Meeting) -> str:
        meeting.passphrase(security)
        played = asyncio.run(talk(meeting, security, get_profile(str(meeting.found(security)))))
        if played.wrong:
            raise _StepFailed(played.text())
        return played.text()

    return run


async def _to_server(meeting: Meeting, security: str, profile: Profile) -> Played:
    passphrase = meeting.passphrase(security)
    if meeting.target.address is not None:
        return await ask_server(meeting.target.address, meeting.user, passphrase, profile)
    async with meeting.peer() as peer:
        return await ask_server(peer, meeting.user, passphrase, profile)


async def _from_client(meeting: Meeting, security: str, profile: Profile) -> Played:
    passphrase = meeting.passphrase(security)
    async with meeting.peer() as peer:
        return await ask_ours(peer, None if passphrase is None else passphrase.decode("ascii"), profile)


def _matrix(meeting: Meeting) -> str:
    """All peers that can speak the profile, with the peer that is met."""
    said, failed = [], False
    whole = meeting.folder.file(f"{meeting.target.name}.toml").exists()
    for security in (None,) if whole else SECURITIES:
        profile = meeting.found(security or "secure")
        if not profile.exists():
            continue
        stem = "matrix" if security is None else f"matrix-{security}"
        words = ["run", "--peers", "python-sync,python-asyncio", "--about", meeting.target.name]
        words += ["--peer", f"{meeting.target.name}={meeting.target.option}", "--profile", str(profile)]
        meeting.folder.file(f"{stem}.json").unlink(missing_ok=True)
        words += ["--no-guard", "nonce-reuse"] if get_profile(profile).leaks else []
        words += ["--kind", "reference", *([] if security is None else ["--security", security])]
        words += [
            "--json",
            str(meeting.folder.file(f"{stem}.json")),
            "--html",
            str(meeting.folder.file(f"{stem}.html")),
        ]
        status = meeting.command(*words, *meeting.options.matrix, log=f"{stem}.txt")
        if status not in (0, 1) or not meeting.folder.file(f"{stem}.json").exists():
            raise _StepFailed(f"the matrix was not played (status {status}): see {stem}.txt")
        summary = json.loads(meeting.folder.file(f"{stem}.json").read_text(encoding="utf-8"))["summary"]
        failed = failed or bool(summary["failed"])
        said.append(f"{', '.join(f'{count} {what}' for what, count in summary.items() if count)}: {stem}.html")
    if not said:
        raise _LeftOut("no profile was found to play it with")
    return "; ".join(said) + ("; what failed is open" if failed else "")


_TALKS = "its own client and server talk over {} connections, through a recording relay"

_STEPS = (
    _Step("versions", "start the peer, and note every version", _versions, puppet=False),
    _Step("script", "write the requests that pin a format down", _script, puppet=False),
    *(_Step(f"record-{one}", _TALKS.format(one), _record(one), ("versions",)) for one in SECURITIES),
    *(
        _Step(
            f"calibrate-{one}", f"find the profile of the {one} connections",
            _calibrate(one), (f"record-{one}",), address=True,
        )
        for one in SECURITIES
    ),
    _Step("profile", "make one profile of what was found, and prove it", _profile, puppet=False),
    *(
        _Step(
            f"our-client-{one}", f"our client speaks the profile to its server, {one}",
            _speak(_to_server, one), ("profile", f"calibrate-{one}"), address=True,
        )
        for one in SECURITIES
    ),
    *(
        _Step(
            f"our-server-{one}", f"its client speaks to our server in the profile, {one}",
            _speak(_from_client, one), ("profile", f"calibrate-{one}"),
        )
        for one in SECURITIES
    ),
    _Step("matrix", "play every case of the API reference with all who can speak the profile", _matrix, ("profile",)),
)  # fmt: skip
_FOR_PUPPETS = frozenset(step.name for step in _STEPS if step.puppet and not step.address)


def step_names() -> list[str]:
    """The names of the steps, in order."""
    return [step.name for step in _STEPS]
