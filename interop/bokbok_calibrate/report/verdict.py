"""What was found, in a sentence, compared with the default profile."""

from __future__ import annotations

from bokbok.wire import INFERRED_1, Profile

from ..search.answer import Answer

__all__ = ["NEVER_SHOWN", "differences", "verdict"]

NEVER_SHOWN = (
    "what the peer accepts beyond what it was sent",
    "paths that were not taken: a wrong key, an unknown user, the other security mode",
    "whether random bytes are random, or the same at each start of the peer",
    "limits of the peer on sizes, depth and time",
)
"""What a recording can never show."""


def verdict(answer: Answer, *, secure: bool) -> str:
    """What was found, compared with the default profile, in a sentence; and whether the recording ended early."""
    early = f"; the recording of {len(answer.lost)} direction{'s' * (len(answer.lost) > 1)} ends early"
    return _found(answer, secure=secure) + early * bool(answer.lost)


def _found(answer: Answer, *, secure: bool) -> str:
    if not answer.profiles:
        return "no profile explains the recording"
    differing = differences(answer.profiles[0], secure=secure)
    if not differing:
        exact = not any(proof.spelt for proof in answer.proofs) and not answer.open
        what = "default profile, exact" if exact else "default profile"
        return f"{what} ({INFERRED_1.name} explains every byte)"
    return f"not the default profile: it differs in {', '.join(differing)}"


def differences(profile: Profile, *, secure: bool) -> list[str]:
    """The layers in which a profile differs from the default, as far as a recording of this kind shows them."""
    mine, default = profile, INFERRED_1
    layers = ["framing", "packets", "messages"]
    layers += ["hello", "nonces", "key_derivation"] if secure else []
    out = [layer.replace("_", " ") for layer in layers if getattr(mine, layer) != getattr(default, layer)]
    if not secure and mine.hello.insecure:
        out.append("hello")
    if mine.dialect != default.dialect:
        out.append("dialect")
    return out
