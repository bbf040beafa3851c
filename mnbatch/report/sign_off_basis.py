"""What a donor's sign-off is about: everything that the donor's pages show.

It is taken from what the pages are made of, as it is, so that no number is forgotten when one is added. Left out are
the sign-offs themselves, links, pictures of cells (the slides' results are held by their keys) and times at which
things were done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mnbatch.report import page_content
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.tables import DOSE
from mnbatch.review.sign_offs import DIGEST_MARK, Basis

VERSION = 3
LONGEST = 160
LEFT_OUT = {"signed", "signatures", "gallery", "href", "donor_href", "mark", "scale", "span"}
"""Fields of views: sign-offs, links, pictures, places of marks on an axis, and when a person reviewed."""
TIMES = {"Scored"}
"""Labels of times at which something was done."""


def with_basis(donor: DonorItem) -> DonorItem:
    """The donor, with what a sign-off would be about."""
    return replace(donor, basis=basis_of(donor))


class Bases(Mapping[str, Basis]):
    """What sign-offs of the donors would be about, by donor: worked out when it is asked for."""

    def __init__(self, donors: Sequence[DonorItem]) -> None:
        self._donors = {donor.call.donor: donor for donor in donors}

    def __getitem__(self, donor: str) -> Basis:
        return basis_of(self._donors[donor])

    def __iter__(self) -> Iterator[str]:
        return iter(self._donors)

    def __len__(self) -> int:
        return len(self._donors)


def basis_of(donor: DonorItem) -> Basis:
    """What a sign-off of this donor is about."""
    f, e, m = donor.call.frequency, donor.review.number, donor.call.mn
    numbers: dict[str, str] = {"status": donor.call.status}
    if f is not None:
        numbers |= {"mnbn_cells": str(f.mnbn_cells), "bn_cells": str(f.bn_cells)}
    if m is not None:
        numbers |= {"micronuclei": str(m.micronuclei)}
    if e is not None:
        numbers |= {"reviewed_per_1000": _number(e.per_1000), "reviewed_ci_low": _number(e.ci_low)}
        numbers |= {"reviewed_ci_high": _number(e.ci_high)}
    if donor.confirmed is not None and donor.confirmed.per_1000 is not None:
        numbers |= {"confirmed_per_1000": _number(donor.confirmed.per_1000)}
    dose: dict[str, str] = {}
    if donor.dose is not None:
        values = {column.name: column.value(donor.dose) for column in DOSE}
        dose = {name: "" if value is None else str(value) for name, value in values.items()}
        dose["curve"] = donor.dose.dosing.key
    slides = {slide.record.slide_id: _slide_basis(slide) for slide in donor.slides}
    return Basis(
        slides=slides,
        numbers=numbers,
        dose=dose,
        review_status=donor.review.status,
        shown=_shown(donor),
        version=VERSION,
    )


def _slide_basis(slide: SlideItem) -> dict[str, str]:
    model, review = slide.record.model, slide.review
    return {
        "status": slide.call.status,
        "result_key": review.result_key,
        "model_digest": model.digest if model else "",
        "decisions": review.decisions,
    }


def _shown(donor: DonorItem) -> dict[str, str]:
    """Label -> text of the donor's page and of its page for print, without sign-offs."""
    bare = replace(donor, signatures=(), torn_signatures=0, basis=None)
    views = {
        "the page's": asdict(page_content.donor_page(bare, None)),
        "for print:": asdict(page_content.donor_sheet(bare)),
    }
    found: dict[str, str] = {}
    for name, text in _leaves(views, ()):
        # Two slides may have one name, and every number of both must be held.
        number = sum(other == name or other.startswith(f"{name} #") for other in found) if name in found else 0
        found[f"{name} #{number + 1}" if number else name] = text
    return found


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every text and number below, with its place in words."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name not in LEFT_OUT:
                yield from _leaves(part, (*path, name.replace("_", " ")))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, part in enumerate(value, start=1):
            if not _is_pair(part):
                yield from _leaves(part, (*path, _label(part) or str(number)))
            elif part[0] not in TIMES:
                yield " ".join((*path, part[0])), _text(part[1])
    else:
        yield " ".join(path), _text(value)


def _is_pair(part: Any) -> bool:
    return isinstance(part, (tuple, list)) and len(part) == 2 and all(isinstance(text, str) for text in part)


def _label(part: Any) -> str:
    """What a line or row is about, without the numbers in brackets behind it."""
    named = part.get("label") or part.get("name") if isinstance(part, Mapping) else ""
    return str(named or "").split(" (")[0]


def _text(value: Any) -> str:
    text = "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{DIGEST_MARK}{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _number(value: float) -> str:
    return f"{value:.6g}"
