"""A donor's sign-offs: what they are about, and how pages and tables tell them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mnbatch.report import wording
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.results.paths import OutPaths
from mnbatch.review.sign_offs import Basis, Signed, compare, read_signatures

NOT_QUALIFIED = (
    "A record in this batch's trail, bound to results, review and dose by a digest. It is not a qualified electronic "
    "signature: the identity of the signer is not checked."
)


@dataclass(frozen=True, slots=True)
class SignedRow:
    """One sign-off as a row; `state` says that it is valid, or what changed since."""

    name: str
    role: str
    time: str
    state: str
    valid: bool
    reason: str
    digest: str


@dataclass(frozen=True, slots=True)
class SignedSlide:
    """What a sign-off is about, a slide a row."""

    name: str
    status: str
    result_key: str
    model: str
    review: str
    reviewers: str


@dataclass(frozen=True, slots=True)
class SignView:
    """The section on sign-offs.

    Attributes:
        digest: of what would be signed now; "" where there is nothing to sign.
        finished: the review is complete; else a sign-off needs a reason.
    """

    donor: str
    text: str
    rows: tuple[SignedRow, ...]
    slides: tuple[SignedSlide, ...]
    digest: str
    finished: bool
    note: str = NOT_QUALIFIED


def with_signatures(
    paths: OutPaths, donors: Sequence[DonorItem], basis_of: Callable[[DonorItem], Basis]
) -> list[DonorItem]:
    """The donors with their sign-offs, each against its basis, which is asked for where there are any."""
    trail = read_signatures(paths)
    signed = {entry.donor for entry in trail.entries}
    return [
        replace(
            donor,
            signatures=compare(trail, donor.call.donor, basis_of(donor)) if donor.call.donor in signed else (),
            torn_signatures=trail.torn,
        )
        for donor in donors
    ]


def sign_view(donor: DonorItem) -> SignView:
    """What the donor's page says of sign-offs, and what it offers to sign."""
    signable = donor.call.frequency is not None
    return SignView(
        donor=donor.call.donor,
        text=_text(donor),
        rows=tuple(_row(signed) for signed in donor.signatures),
        slides=tuple(_slide(slide) for slide in donor.slides),
        digest=donor.basis.digest if signable and donor.basis else "",
        finished=donor.review.status == "complete",
    )


def signature_status(signatures: Sequence[Signed]) -> tuple[str, str, str]:
    """Status, people and times: of the valid sign-offs, else of the outdated ones."""
    if not signatures:
        return "none", "", ""
    valid = [signed for signed in signatures if signed.valid]
    shown = [signed.signature for signed in valid or signatures]
    status = "stands" if valid else "outdated"
    return status, "; ".join(s.name for s in shown), "; ".join(s.time for s in shown)


def short_signature(signatures: Sequence[Signed]) -> str:
    """For a row of a table: that it is signed and by whom, or that the signature is outdated; "" for none."""
    status, people, _ = signature_status(signatures)
    return {"stands": f"signed by {people}", "outdated": "signature outdated"}.get(status, "")


def sheet_signatures(signatures: Sequence[Signed]) -> tuple[str, ...]:
    """Lines for the physician's page."""
    lines = []
    for row in map(_row, signatures):
        reason = f"; review not finished: {row.reason}" if row.reason else ""
        who = f"{row.name} ({row.role})" if row.role else row.name
        state = "" if row.valid else f". OUTDATED: {row.state}"
        lines.append(f"Signed by {who}, {row.time}, digest {row.digest[:16]}{reason}{state}")
    return tuple(lines)


def _row(signed: Signed) -> SignedRow:
    s = signed.signature
    state = "valid: nothing changed since" if signed.valid else "; ".join(signed.changes)
    return SignedRow(
        name=s.name,
        role=s.role,
        time=wording.moment(s.time),
        state=state,
        valid=signed.valid,
        reason=s.reason,
        digest=s.digest,
    )


def _slide(slide: SlideItem) -> SignedSlide:
    model, review = slide.record.model, slide.review
    people = "; ".join(f"{r.reviewer} (last {wording.moment(r.last)})" for r in review.reviewers)
    text = f"{model.name} {model.version}, {model.digest[:12]}" if model else ""
    return SignedSlide(
        name=slide.record.name,
        status=slide.call.status,
        result_key=review.result_key,
        model=text,
        review=review.status,
        reviewers=people,
    )


def _text(donor: DonorItem) -> str:
    torn = donor.torn_signatures
    note = f" {wording.plural(torn, 'line')} of the trail of sign-offs cannot be read." if torn else ""
    return _standing(donor) + note


def _standing(donor: DonorItem) -> str:
    if donor.call.frequency is None:
        return "There is no result to sign."
    if not donor.signatures:
        return "This donor's result is not signed."
    valid = sum(signed.valid for signed in donor.signatures)
    if not valid:
        return "No sign-off is valid: the signed result has changed since."
    return f"{wording.plural(valid, 'sign-off')} of this result."
