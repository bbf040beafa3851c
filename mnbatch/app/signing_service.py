"""Signing a donor's result: what is signed is what the pages show at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnbatch.app.rebuild import Rebuilt, held_for_reports, make_reports
from mnbatch.errors import MismatchError, MnbatchError, UsageError
from mnbatch.results.roster import Samples
from mnbatch.results.store import Store
from mnbatch.review.sign_offs import Basis, Signature, add_signature, make_signature
from mnbatch.review.trail import writing

if TYPE_CHECKING:
    from mnbatch.report.build import ReportOptions, ReportSummary


@dataclass(frozen=True, slots=True)
class SignRequest:
    """What a person asks for.

    Attributes:
        reason: why to sign although the review is not complete; "" for none.
        digest: of what they saw; "" to sign what is there.
    """

    donor: str
    name: str
    role: str = ""
    reason: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """A sign-off.

    Attributes:
        added: whether it is new in the trail; the same one given again is not.
        notes: what a person should know of the reports that were made.
    """

    signature: Signature
    added: bool
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In two lines, for a person."""
        signature, basis = self.signature, self.signature.basis
        did = "signed by" if self.added else "was signed already by"
        role = f" ({signature.role})" if signature.role else ""
        return (
            f"donor {signature.donor}: {basis.numbers['mnbn_cells']} MNBN of {basis.numbers['bn_cells']} cells, "
            f"review {basis.review_status}, digest {signature.digest}\n"
            f"{did} {signature.name}{role}, {signature.time}"
        )


def sign_donor(
    store: Store, request: SignRequest, options: ReportOptions | None = None, samples: Samples | None = None
) -> Signed:
    """Bring the reports up to date, sign what they say of the donor, and show it there.

    Args:
        options: of the reports; None: as the last run had them.
        samples: by slide_id; None: the sample sheet in force.

    Raises:
        UsageError: no such donor, no result, a review that is not complete without a reason, or a broken name.
        MismatchError: the donor's page has changed since it was read.
        LockHeldError: a run holds OUT, or another signer did not end in time.
        StorageError: a file cannot be read or written.
        A refusal has what a person should know of the reports that were made in its `__notes__`.
    """
    with writing(store.paths), held_for_reports(store):
        seen = make_reports(store, options, samples)
        signature = _checked_with_notes(request, seen)
        added = add_signature(store.paths, signature)
        shown = make_reports(store, options, samples).notes if added else ()
    return Signed(signature, added, seen.notes + shown)


def _checked_with_notes(request: SignRequest, seen: Rebuilt) -> Signature:
    """As `checked`; a refusal carries the notes of the reports that were made (`__notes__`)."""
    assert seen.made is not None
    try:
        return checked(request, seen.made)
    except MnbatchError as error:
        for note in seen.notes:
            error.add_note(note)
        raise


def checked(request: SignRequest, made: ReportSummary) -> Signature:
    """The sign-off that was asked for, if it can be given (see `sign_donor`)."""
    basis = made.bases.get(request.donor)
    if basis is None:
        known = ", ".join(sorted(made.bases)[:10]) or "none"
        raise UsageError(f"There is no donor {request.donor!r} in these results.", f"Donors: {known}.")
    if "bn_cells" not in basis.numbers:
        raise UsageError(f"Donor {request.donor} has no result to sign.", "Its page states the reason.")
    if request.digest and request.digest != basis.digest:
        raise MismatchError(
            f"The result of donor {request.donor} has changed since it was read.",
            "Nothing was signed. Load the page again, check what changed, and sign that.",
        )
    return _signature(request, basis)


def _signature(request: SignRequest, basis: Basis) -> Signature:
    finished = basis.review_status == "complete"
    if not finished and not request.reason.strip():
        raise UsageError(
            f"The review of donor {request.donor} is not complete ({basis.review_status}).",
            "Nothing was signed. Finish the review, or say why it is signed without: --unfinished REASON.",
        )
    try:
        reason = "" if finished else request.reason
        return make_signature(request.donor, basis, request.name, request.role, reason)
    except ValueError as error:
        raise UsageError(f"This cannot be signed: {error}.", "Nothing was signed. Correct it.") from error
