"""Sign-offs: who signed a donor's result, and what exactly was signed.

A sign-off is a line in `annotations/signatures.jsonl`, which is only ever appended to. It holds what it is about (the
results, the decisions of the review and the dose, as digests and numbers), so that any later change of these shows: the
line is kept, and marked as outdated with what changed. It is a record in a trail. It is not a qualified
electronic signature: nothing proves that the name is the person's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mnbatch import __version__
from mnbatch.results.annotations import change
from mnbatch.results.manifest import now
from mnbatch.results.paths import OutPaths
from mnbatch.review.decisions import LONGEST_NAME, person_name
from mnbatch.review.trail import read_lines

LONGEST_REASON = 500
MOST_CHANGES = 6
DIGEST_MARK = "digest "
"""Begins the digest that replaces a text that is too long to be kept."""
EARLIER = "it was signed with an earlier version of mnbatch, whose sign-offs hold less: they cannot be compared in full"


@dataclass(frozen=True, slots=True)
class Basis:
    """What a donor's sign-off is about.

    Attributes:
        slides: slide_id -> its state: `status`, `result_key`, `model_digest`, `decisions` (digest over the
            valid decisions; "" without any).
        numbers: the donor's counts and frequencies as text, by the names of donors.csv.
        dose: likewise the dose, with the digest of the curve; empty where no curve is in force.
        review_status: of the donor (see `mnbatch.review.review_status`).
        shown: everything that the donor's pages show, by what it is about: short texts as shown there, long ones
            as digests.
        version: 1 of a sign-off that does not hold `shown`.
    """

    slides: Mapping[str, Mapping[str, str]]
    numbers: Mapping[str, str]
    dose: Mapping[str, str] = field(default_factory=dict)
    review_status: str = "none"
    shown: Mapping[str, str] = field(default_factory=dict)
    version: int = 1

    @property
    def digest(self) -> str:
        """32 hex digits over all of it."""
        content = asdict(self)
        if self.version == 1:
            del content["shown"], content["version"]
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def changes(self, earlier: Basis) -> tuple[str, ...]:
        """What is different from an earlier basis, in words; empty where nothing is."""
        if self.digest == earlier.digest:
            return ()
        found = [*self._slide_changes(earlier)]
        if earlier.version < self.version:
            return (*found, EARLIER)
        if self.dose != earlier.dose:
            found.append("the dose or its curve changed")
        if not found and self.review_status != earlier.review_status:
            found.append("the cells to be reviewed changed")
        found += self._shown_changes(earlier)
        return tuple(found) or ("the donor's numbers changed",)

    def _shown_changes(self, earlier: Basis) -> Sequence[str]:
        names = [name for name in {**earlier.shown, **self.shown} if self.shown.get(name) != earlier.shown.get(name)]
        # Lines say most: value, interval and where it comes from.
        names.sort(key=lambda name: " lines " not in name)
        words = []
        for name in names[:MOST_CHANGES]:
            old, new = earlier.shown.get(name, ""), self.shown.get(name, "")
            told = f": {old or 'nothing'} then, {new or 'nothing'} now" if DIGEST_MARK not in old + new else " changed"
            words.append(name + told)
        left = len(names) - len(words)
        return [*words, *([f"{left} more texts of the page changed"] if left > 0 else [])]

    def _slide_changes(self, earlier: Basis) -> Sequence[str]:
        words = [f"slide {name} was added" for name in sorted(self.slides.keys() - earlier.slides.keys())]
        words += [f"slide {name} was removed" for name in sorted(earlier.slides.keys() - self.slides.keys())]
        for name in sorted(self.slides.keys() & earlier.slides.keys()):
            new, old = dict(self.slides[name]), dict(earlier.slides[name])
            reviewed = new.pop("decisions", "") != old.pop("decisions", "")
            words += [f"the result of slide {name} changed"] if new != old else []
            words += [f"the review of slide {name} changed"] if reviewed else []
        return words


@dataclass(frozen=True, slots=True)
class Signature:
    """One sign-off as the trail holds it.

    Attributes:
        role: of the signer, as they named it; may be "".
        reason: why the donor was signed although the review is not complete; "" where it is.
        time: when, by this machine's clock, ISO 8601 with an offset.
        digest: of `basis`.
    """

    donor: str
    name: str
    role: str
    reason: str
    time: str
    digest: str
    basis: Basis
    mnbatch: str = __version__


@dataclass(frozen=True, slots=True)
class Signed:
    """A sign-off and what changed since; it is valid where nothing did."""

    signature: Signature
    changes: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether it is about what the donor's page shows now."""
        return not self.changes


@dataclass(frozen=True, slots=True)
class SignatureTrail:
    """All sign-offs in the order in which they were made.

    Attributes:
        torn: lines that cannot be read.
        altered: what was done to the trail by hand, in words; no sign-off of it is valid then.
    """

    entries: tuple[Signature, ...] = ()
    torn: int = 0
    altered: tuple[str, ...] = ()


def make_signature(donor: str, basis: Basis, name: str, role: str = "", reason: str = "") -> Signature:
    """A sign-off made now, by this machine's clock.

    Raises:
        ValueError: a name, role or reason that cannot be one, saying why.
    """
    role, reason = role.strip(), reason.strip()
    for what, text, most in (("role", role, LONGEST_NAME), ("reason", reason, LONGEST_REASON)):
        if len(text) > most or not text.isprintable():
            raise ValueError(f"the {what} must be at most {most} letters on one line")
    return Signature(
        donor=donor,
        name=person_name(name, "the name"),
        role=role,
        reason=reason,
        time=now(),
        digest=basis.digest,
        basis=basis,
    )


def add_signature(paths: OutPaths, signature: Signature) -> bool:
    """Append a sign-off, unless the same person signed the same already; says whether it was added.

    The caller holds the trail (`mnbatch.review.trail.writing`).
    """
    mine = (signature.donor, signature.name, signature.role, signature.digest)
    if mine in {(s.donor, s.name, s.role, s.digest) for s in read_signatures(paths).entries}:
        return False
    change(paths, append={paths.signatures: [asdict(signature)]})
    return True


def read_signatures(paths: OutPaths) -> SignatureTrail:
    """All sign-offs of OUT.

    Raises:
        StorageError: the trail is there and cannot be read.
    """
    lines = read_lines(paths, paths.signatures, _parse)
    return SignatureTrail(lines.entries, lines.torn, lines.altered)


def compare(trail: SignatureTrail, donor: str, basis: Basis) -> tuple[Signed, ...]:
    """The donor's sign-offs against the present results, in the order in which they were made."""
    altered = (f"the trail of sign-offs was changed by hand ({'; '.join(trail.altered)})",) if trail.altered else ()
    return tuple(
        Signed(entry, (*altered, *basis.changes(entry.basis))) for entry in trail.entries if entry.donor == donor
    )


def _parse(row: Mapping[str, Any]) -> Signature:
    basis = Basis(**row["basis"])
    texts = {name: str(row[name]) for name in ("donor", "name", "role", "reason", "time", "digest", "mnbatch")}
    if texts["digest"] != basis.digest:
        # The line was edited: its basis is not what was signed.
        raise ValueError("the digest is not that of the basis")
    return Signature(**texts, basis=basis)
