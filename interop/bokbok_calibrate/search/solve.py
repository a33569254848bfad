"""The solver: from recorded bytes to the profiles that explain all of them.

What this module knows: how to go from what is certain to what is likely. Few framings cut every stream exactly
(`cuts`). In their packets the encryption is an oracle (`secure`), or the messages can be read (`insecure`). If several
profiles explain everything, it compares them.

A profile is claimed only when `verify.prove` has written every byte of every connection again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bokbok.wire import Profile
from bokbok.wire.encoding import USER_ENCODINGS
from bokbok.wire.framing import Framing, IntegerLength, Lines, TextLength
from bokbok.wire.hello import Field, TemplateHello
from bokbok.wire.messages import ERROR, RESPONSE
from bokbok.wire.packets import PacketForm
from bokbok_traffic.recording import Recorded
from bokbok_workers.where import WorkersError

from ..clock import PATIENCE, Clock, OutOfTime
from ..derivation import Secrets
from ..framing.candidates import is_text
from ..framing.cut import Cut
from ..framing.order import cuts_in
from ..hands import Hands
from ..message.body import Fit
from ..verify import Mismatch, Proof, prove
from .advice import advice
from .answer import Answer
from .compare import telling
from .findings import Trail
from .given import Given
from .insecure import InsecureSearch
from .secure import SecureSearch

__all__ = ["solve"]

_log = logging.getLogger("bokbok_calibrate")

_MOST_PROFILES = 5
"""The most profiles that are reported if several explain everything."""
_FEW = 3
"""The least messages for which a profile is believed although something is left over."""
_MOST_COMPARED = 12
"""The most profiles that are compared with the likeliest one."""


@dataclass
class Claim:
    """A profile that explains every byte.

    Attributes:
        profile: the profile.
        proofs: one for each connection.
        fit: how its messages fit.
        trail: how it was found.
        score: how likely it is, compared with others.
        doubts: what makes it unlikely.
    """

    profile: Profile
    proofs: list[Proof]
    fit: Fit
    trail: Trail
    score: float
    doubts: list[str]


def solve(
    recorded: list[Recorded],
    secrets: Secrets,
    known: set[bytes],
    *,
    patience: float = PATIENCE,
    made_up: str | None = None,
    hands: Hands | None = None,
) -> Answer:
    """Find the profiles that explain every byte.

    Args:
        recorded: connections of one peer in one mode.
        secrets: what is known about the client.
        known: datums that may be expected, as written (`script.known_datums`).
        patience: seconds after which the search stops.
        made_up: the direction that the calibrator sent: it is not evidence about a peer.
        hands: who does the long parts; by default this process. The answer is the same.

    Raises:
        WorkersError: others do it, and are gone.
    """
    answer = _solved(Given(recorded, secrets, known, Clock(patience), made_up, hands or Hands()))
    answer.lost = [
        f"connection {one.conn}: the recording of the {source}'s bytes ends early: {why}"
        for one in recorded for source, why in one.lost.items()
    ]  # fmt: skip
    return answer


def _solved(given: Given) -> Answer:
    trail = Trail()
    if not any(one.client for one in given.recorded):
        said = any(one.server for one in given.recorded)
        what = "it does not contain anything that a client sent" if said else "it is empty"
        trail.say("recording", f"{what}: a conversation begins with its client", "failed")
        return Answer(steps=trail.steps, advice=["record both directions, from the connection's beginning"])
    spoken = [one for one in given.recorded if one.size("client")]
    return _Solver(replace(given, recorded=spoken)).run(trail)


class _Solver:
    def __init__(self, given: Given) -> None:
        self.everything = given.recorded
        self.recorded = [one.beginning() for one in given.recorded if one.client]
        self.given = replace(given, recorded=self.recorded)
        self.secrets = given.secrets
        self.made_up = given.made_up
        self.search: SecureSearch | InsecureSearch = (
            SecureSearch(self.given) if self.secrets.secure else InsecureSearch(self.given)
        )
        self.claims: list[Claim] = []
        self.furthest = Trail()

    def run(self, trail: Trail) -> Answer:
        self._readable(trail)
        self.furthest = trail
        gave_up = False
        try:
            for what, cuts in cuts_in(self.recorded, self.secrets.user or b"", self.given.clock):
                self._try(what, cuts, trail)
                if any(not claim.doubts for claim in self.claims):
                    break
            else:
                if isinstance(self.search, SecureSearch) and not self.claims and not self._opened_any():
                    self.search.last_resort(self.furthest)
        except OutOfTime:
            gave_up = True
        if self.claims:
            answer = self._chosen()
        else:
            trail = self.furthest
            answer = Answer(steps=trail.steps, regions=trail.regions, opened=trail.opened)
            answer.advice = list(advice(self.recorded, self.secrets, self.given.known, trail))
        if gave_up:
            answer.notes.append(
                f"the search was given up after {self.given.clock.seconds:g} s, with possibilities left (--patience)"
            )
        answer.seconds = self.given.clock.passed
        return answer

    def _opened_any(self) -> bool:
        return any(step.topic == "keys" for step in self.furthest.steps)

    def _readable(self, trail: Trail) -> None:
        """Step 1: what can be read without a key."""
        user = self.secrets.user
        first = self.recorded[0].client
        if user:
            places = [(one.conn, one.client.find(user)) for one in self.recorded]
            if all(at >= 0 for _, at in places):
                where = ", ".join(map(str, dict.fromkeys(at for _, at in places)))
                trail.say("readable", f"the username is readable at byte {where} of what the client sends")
                for conn, at in places:
                    trail.mark(conn, "client", at, at + len(user), "username")
            else:
                trail.say(
                    "readable",
                    "the username is not readable in what the client sends: is it this user's?",
                    "failed",
                )
        kind = "text" if is_text(first) else "binary"
        trail.say("readable", f"what the client sends begins as {kind}: {first[:24]!r}")

    def _try(self, what: str, cuts: list[Cut], before: Trail) -> None:
        """Search a group of cuts."""
        if not cuts:
            return
        trail = before.branch()
        names = list(dict.fromkeys(cut.framing.words() for cut in cuts))
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        trail.say("framing", f"{len(cuts)} framings {what}: {'; '.join(names[:4])}{more}", "likely")
        self._went(trail)
        for cut in self.search.promising(cuts):
            self._try_cut(cut, trail.branch())

    def _went(self, trail: Trail) -> None:
        if trail.reach > self.furthest.reach:
            self.furthest = trail

    def _try_cut(self, cut: Cut, trail: Trail) -> None:
        told = cut.framing.words()
        if cut.preamble:
            told = f"{cut.preamble!r} of the client's, then {told}"
        if cut.hello_framing is not None:
            told = f"{cut.hello_framing.words()} for {cut.hello} packets of the hello, then {told}"
        trail.say("framing", told, "likely")
        failures: set[str] = set()
        proven: list[Fit] = []
        try:
            for profile, fit in self.search.profiles(cut, trail):
                self.given.clock.check()
                if any(fit is one for one in proven):
                    continue  # only the first of several that say the same
                proofs = self._proven(profile, self.recorded, failures)
                if proofs is not None and _is_enough(proofs, secure=self.secrets.secure):
                    proven.append(fit)
                    doubts = [*fit.doubts, *self._doubts(profile), *["no request is known"] * fit.guessed]
                    score = _rated(profile, proofs, fit)
                    self.claims.append(Claim(profile, proofs, fit, trail.branch(), score, doubts))
                    if isinstance(self.search, InsecureSearch) and not fit.guessed:
                        self.search.settle(cut, fit)
                        break  # the first that is proven is the best of it
        except (OutOfTime, WorkersError):
            raise
        except Exception as error:  # a fault costs one reading of the recording, not the whole search
            _log.debug("a cut could not be looked at", exc_info=True)
            trail.say("calibrator", f"an internal error on this path: {type(error).__name__}: {error}", "failed")
        finally:
            for text in sorted(failures)[:3]:
                trail.say("proof", text, "failed")
            self._went(trail)

    def _proven(self, profile: Profile, recorded: list[Recorded], failures: set[str]) -> list[Proof] | None:
        key = self.secrets.key
        if self.secrets.passphrase is not None:
            key = profile.key_derivation(self.secrets.passphrase)
        out = []
        for one in recorded:
            try:
                out.append(prove(profile, one, self.secrets.user, key))
            except Mismatch as problem:
                failures.add(f"connection {one.conn} is not explained: {problem}")
                return None
        return out

    def _doubts(self, profile: Profile) -> list[str]:
        """What makes a profile that explains everything unlikely."""
        hello = profile.hello
        literals = [hello.preamble] if self.secrets.secure else [hello.insecure_preamble, *hello.insecure]
        # In any envelope: of `("ping" "12345")`, what is between the brackets, quoted once more or not.
        asked = [text[1:-1] for text in self.given.known if text.startswith(b'("')]
        asked += [text.replace(b'"', b'\\"') for text in asked]
        if any(text in literal for literal in literals for text in asked):
            return ["the bytes before the first message contain a request"]
        return []

    # The end.

    def _chosen(self) -> Answer:
        claims = sorted(self.claims, key=lambda claim: (len(claim.doubts), -claim.score))
        best = claims[0]
        kept, apart = [best], []
        for other in claims[1:_MOST_COMPARED]:
            known = any(other.profile == claim.profile for claim in kept)
            why = self._difference(best, other) if not known else None
            if why is not None:
                kept.append(other)
                apart.append(why)
        if any(one.whole is not None for one in self.everything):
            failures: set[str] = set()
            told = [
                (claim, why)
                for claim, why in zip(kept[:_MOST_PROFILES], ["", *apart], strict=False)
                if self._proves_all(claim, failures)
            ]
            if not told or told[0][0] is not best:
                return self._refuted(best, failures)
            kept, apart = [claim for claim, _ in told], [why for _, why in told[1:]]
        answer = Answer([claim.profile for claim in kept[:_MOST_PROFILES]], best.proofs, apart=apart)
        self._tell(answer, best)
        return answer

    def _proves_all(self, claim: Claim, failures: set[str]) -> bool:
        """Whether a profile of the recording's beginning explains the rest, too."""
        proofs = self._proven(claim.profile, self.everything, failures)
        claim.proofs = proofs or claim.proofs
        return proofs is not None

    def _refuted(self, claim: Claim, failures: set[str]) -> Answer:
        trail = claim.trail
        count = sum(proof.explained for proof in claim.proofs)
        trail.say("proof", f"the first {count} bytes are explained, the bytes after them are not", "likely")
        for text in sorted(failures)[:3]:
            trail.say("proof", text, "failed")
        return Answer(steps=trail.steps, regions=trail.regions, opened=trail.opened)

    def _tell(self, answer: Answer, best: Claim) -> None:
        """What is open, what was found, and what the recording does not show."""
        fit, trail = best.fit, best.trail
        answer.answered = any(kind == RESPONSE and side != self.made_up for side, kind in fit.said)
        answer.open += self._left_open(best, answered=answer.answered)
        if self.made_up is not None:
            answer.notes.append(f"the calibrator sent the bytes of the {self.made_up}: they prove nothing about a peer")
        if self.secrets.secure:
            trail.steps = [step for step in trail.steps if step.topic != "hello"]
            hello: Any = best.profile.hello
            packets = hello.words()
            trail.say("hello", f"{len(hello.packets)} packet{'s' * (len(hello.packets) > 1)}: {packets}")
            answer.notes += _other_forms(hello, self.secrets.user or b"")
        trail.say("messages", fit.messages.words())
        if len(fit.dialects) < 3:
            names = " or ".join(d.name for d in fit.dialects)
            trail.say("dialect", f"datums are written as {names} writes them")
        else:
            answer.notes.append("nothing was said that the dialects write differently: chicken-4 is assumed")
        trail.say("proof", _proof_text(best.proofs))
        answer.steps, answer.regions = trail.steps, trail.regions
        answer.notes += [*best.doubts, *fit.notes]
        if len(best.proofs) < 2:
            answer.notes.append("one connection only: bytes that are literal in it may change from one to the next")

    def _left_open(self, best: Claim, *, answered: bool) -> Iterator[str]:
        """What the recording should show but leaves open."""
        fit = best.fit
        if not answered:
            yield "what an answer looks like: no answer of a peer was recorded, any form would fit"
        if fit.guessed:
            yield "whether it is understood: its requests are unknown; give them with --messages"
        if fit.swappable and not _names_its_response(fit.messages):
            yield "which answers are failures: all are texts, and no request tells them apart"
        if self.secrets.secure and len(best.proofs) < 2:
            content: Any = best.profile.hello
            if any(not isinstance(part, Field) or part.name == "any" for part in content.content.parts):
                yield "whether what is in the box beside the session key changes: a second connection would tell"
        if fit.unfailing:
            yield 'how a failure travels: ("fail" ...) was answered, and the answer has no form of its own'
        if any(proof.repeated for proof in best.proofs):
            yield "how nonces are chosen: one came twice; guards refuse such packets (--no-guard reflection)"
        if self.made_up is not None and not {(self.made_up, RESPONSE), (self.made_up, ERROR)} & fit.said:
            # No client went on after an answer, so the server is assumed to do as its client does.
            form = best.profile.packets
            if isinstance(form, PacketForm) and form.client:
                yield "what is in front of the server's packets: no client went on after an answer"

    def _difference(self, best: Claim, other: Claim) -> str | None:
        """What would tell two profiles apart; `None` if nothing would, or if one is too far-fetched to keep."""
        if len(other.doubts) > len(best.doubts) or _literals(other.profile) > _literals(best.profile):
            return None  # the same, but with more that would have to be there by chance
        mine, theirs = best.profile, other.profile
        a, b = mine.framing, theirs.framing
        if mine.framing != theirs.framing:
            if getattr(b, "after", 0) > getattr(a, "after", 0) and _wide(a):
                return None
            if getattr(b, "counts", 0) and not getattr(a, "counts", 0) and _wide(a):
                return None
        if mine.messages != theirs.messages and other.fit.score < best.fit.score - 0.5:
            return None
        user = (self.secrets.user or b"").decode("utf-8", "surrogateescape")
        told = telling(best.profile, other.profile, secure=self.secrets.secure, user=user)
        if told is None:
            return None
        if mine.framing != theirs.framing:
            return f"framing: {a.words()}, or {b.words()}: {told} would tell"
        if mine.messages != theirs.messages:
            return f"messages: {best.fit.messages.words()}, or {other.fit.messages.words()}: {told} would tell"
        return f"{', '.join(_differing(mine, theirs))}: {told} would tell"


def _proof_text(proofs: list[Proof]) -> str:
    explained, left, spelt = (sum(getattr(proof, name) for proof in proofs) for name in ("explained", "cut", "spelt"))
    count = f"{len(proofs)} connection{'s' if len(proofs) > 1 else ''}"
    rest = f"; {left} bytes of packets that were cut off are not explained" if left else ""
    if spelt:
        rest += f"; in {spelt} messages the datum is read as the same, but is written in another way"
    return f"every byte is explained: {explained} bytes of {count} were written again the same{rest}"


def _other_forms(hello: TemplateHello, user: bytes) -> list[str]:
    """What this username does not show about how usernames are written."""
    fields = [part for packet in hello.packets for part in packet.parts if isinstance(part, Field)]
    form = next(field.encoding for field in fields if field.name == "user")
    text = USER_ENCODINGS[form].encode(user)
    same = [
        name for name, other in USER_ENCODINGS.items()
        if name != form and not name.startswith(f"{form}-") and other.encode(user) == text
    ]  # fmt: skip
    if not same:
        return []
    return [
        f"the username is written as {form}, or as {' or '.join(same)}: one with a space or a quote in it would tell"
    ]


def _differing(mine: Profile, theirs: Profile) -> list[str]:
    layers = ("packets", "hello", "nonces", "dialect", "key_derivation", "hello_framing")
    return [layer.replace("_", " ") for layer in layers if getattr(mine, layer) != getattr(theirs, layer)]


def _is_enough(proofs: list[Proof], *, secure: bool) -> bool:
    """Whether a profile is believed although parts of packets are left over: boxes that open are proof."""
    left = sum(proof.cut for proof in proofs)
    said = sum(proof.messages for proof in proofs)
    return not left or (said >= _FEW and (secure or left < sum(proof.explained for proof in proofs)))


def _rated(profile: Profile, proofs: Iterable[Proof], fit: Fit) -> float:
    """How likely a profile is, among those that explain everything."""
    framing = profile.framing
    # What a simpler framing explains should not count as literal bytes of something else.
    score = -10.0 * _literals(profile)
    score += fit.score - 1000.0 * (sum(proof.cut for proof in proofs) > 0)
    hello = profile.hello
    score -= len(hello.preamble) + len(hello.insecure_preamble) + sum(map(len, hello.insecure))
    if isinstance(framing, IntegerLength):
        score -= 20 * framing.after + 5 * (framing.counts != 0) + (framing.integer == "leb128") * 0.5
    if isinstance(framing, TextLength):
        score -= len(framing.before) / 10 + 20 * framing.after + len(framing.ending) / 100
    if isinstance(framing, Lines):
        score -= 1.5
    return score


_RESPONSE = re.compile(r"resp|repl|answ|result|return|rsp|ok|val|ack|\bres\b|\bret\b", re.IGNORECASE)


def _names_its_response(messages: Any) -> bool:
    """Whether the tag of a response looks like one."""
    return bool(_RESPONSE.search(str(getattr(messages, "response", ""))))


def _literals(profile: Profile) -> int:
    """How many literal bytes it needs around its packets."""
    form = profile.packets
    assert isinstance(form, PacketForm)
    total = 0
    for prefix in (form.client, form.server):
        total += len(prefix) if isinstance(prefix, bytes) else max(map(len, prefix))
    framing = profile.framing
    total += 2 * (getattr(framing, "counts", 0) != 0) + getattr(framing, "after", 0)
    return total + len(form.client_suffix) + len(form.server_suffix)


def _wide(framing: Framing) -> bool:
    return not isinstance(framing, IntegerLength) or framing.integer not in ("u16-be", "u16-le")
