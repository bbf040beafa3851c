"""Which labelled cells are of one person: they are held out, split and drawn together, else figures flatter.

One rule for `train`, `adapt`, `compare` and `evaluate`. Tables keep the names as they were written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mnbatch.assay.alike_names import alike_donors, alike_names, spelled

_SHOWN = 3


class Named(Protocol):
    """What has a slide and a donor; "" where the labels do not say."""

    @property
    def slide(self) -> str:
        """Its name."""

    @property
    def donor(self) -> str:
        """The code."""


@dataclass(frozen=True, slots=True)
class People:
    """Who the cells are of, in their order.

    Attributes:
        names: what must not be divided: the donor, all spellings of it (`D1 and d1`), else the slide; "" where the
            labels name neither.
        donors: the donor in all its spellings; "" where none is known.
        slides: the slide, as `donor/slide` where slides of two donors have the same name; "" where none is named.
        notes: sentences on what was taken for one, for a person.
    """

    names: tuple[str, ...]
    donors: tuple[str, ...]
    slides: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of people (else slides)."""
        return len(set(self.names) - {""})

    @property
    def kind(self) -> str:
        """What `names` are: "donor", "slide", "donor or slide", or "" where there is none."""
        known = [bool(donor) for name, donor in zip(self.names, self.donors, strict=True) if name]
        if not known:
            return ""
        return "donor" if all(known) else "donor or slide" if any(known) else "slide"


def people_of(cells: Sequence[Named]) -> People:
    """Form the groups: connected by donor, and by slide where a cell names no donor.

    A slide is the donor's where each of its cells names one, so slides `1` of two donors are two. A cell without a
    donor is of the donor that other cells of its slide name. Where those name two, the slide is taken as one and so are
    the donors: either may be the cell's. Names that read the same are one name.
    """
    donors = sorted({cell.donor for cell in cells} - {""})
    one_donor, one_slide = _one_name(donors, alike_donors(donors)), _alike_slides(cells)
    of_slide: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if cell.slide and cell.donor:
            of_slide[one_slide[cell.slide]].add(cell.donor)
    # What a cell without a donor may be of; cells with one are asked, too, for slides that are taken as one.
    may_be = [sorted(of_slide.get(one_slide[cell.slide], ())) if cell.slide else [] for cell in cells]
    unsure = {
        one_slide[cell.slide]: possible
        for cell, possible in zip(cells, may_be, strict=True)
        if not cell.donor and len({one_donor[donor] for donor in possible}) > 1
    }
    own = [cell.donor or next(iter(possible), cell.slide) for cell, possible in zip(cells, may_be, strict=True)]
    alone = sorted(set(own) - {"", *donors})
    alike = alike_names(sorted(set(own) - {""}))
    together = _one_name(sorted(set(own)), [*alike_donors(donors), *alike, *unsure.values()])
    known = [
        "" if not cell.donor and (not possible or one_slide[cell.slide] in unsure) else one_donor[name]
        for cell, possible, name in zip(cells, may_be, own, strict=True)
    ]
    joined = {slide for slide in one_slide if one_slide[slide] in unsure}
    return People(
        names=tuple(together[name] for name in own),
        donors=tuple(known),
        slides=_slides(cells, known, joined),
        notes=(
            *_alike_notes(donors, alike),
            *_filled_note(sum(bool(donor) and not cell.donor for cell, donor in zip(cells, known, strict=True))),
            *(_unsure_note(slide, possible) for slide, possible in sorted(unsure.items())),
            *(_alone_note(alone) if donors and alone else ()),
        ),
    )


def _one_name(names: Iterable[str], links: Iterable[Sequence[str]]) -> dict[str, str]:
    """Each name -> the names that links connect it with, in one (`D1 and d1`); itself where there is none."""
    members = {name: {name} for name in names}
    for link in links:
        whole = set[str]().union(*(members[name] for name in link))
        members |= dict.fromkeys(whole, whole)
    return {name: " and ".join(sorted(whole)) for name, whole in members.items()}


def _alike_slides(cells: Sequence[Named]) -> dict[str, str]:
    slides = sorted({cell.slide for cell in cells} - {""})
    return _one_name(slides, alike_names(slides))


def _slides(cells: Sequence[Named], donors: Sequence[str], joined: set[str]) -> tuple[str, ...]:
    """Each cell's slide under a name that no other donor's slide has; `joined` ones are one slide."""
    of_slide: Mapping[str, set[str]] = defaultdict(set)
    for cell, donor in zip(cells, donors, strict=True):
        of_slide[cell.slide].add(donor)
    return tuple(
        f"{donor}/{cell.slide}"
        if cell.slide and donor and len(of_slide[cell.slide]) > 1 and cell.slide not in joined
        else cell.slide
        for cell, donor in zip(cells, donors, strict=True)
    )


def _alike_notes(donors: Sequence[str], alike: Iterable[tuple[str, ...]]) -> list[str]:
    people = alike_donors(donors)
    others = [group for group in alike if not any(set(group) <= set(person) for person in people)]
    said = [("donors", group) for group in people]
    said += [("donors or slides" if set(group) & set(donors) else "slides", group) for group in others]
    return [
        f"The {word} {' and '.join(map(spelled, group))} read the same: they are taken as one. If they are the same, "
        "write one name for both."
        for word, group in said
    ]


def _filled_note(cells: int) -> list[str]:
    if not cells:
        return []
    return [
        f"{cells} {'cell names' if cells == 1 else 'cells name'} no donor: the donor is taken from other cells of the "
        "slide."
    ]


def _unsure_note(slide: str, possible: Sequence[str]) -> str:
    said = " and ".join(map(spelled, possible))
    return (
        f"Cells of the slide {spelled(slide)} name the donors {said}, and others name none: they are all taken as one "
        "person. Write the donor for every cell."
    )


def _alone_note(slides: Sequence[str]) -> list[str]:
    said = ", ".join(map(spelled, slides[:_SHOWN])) + (
        f" and {len(slides) - _SHOWN} more" if len(slides) > _SHOWN else ""
    )
    what = f"The slide {said} has" if len(slides) == 1 else f"The slides {said} have"
    each = "it" if len(slides) == 1 else "each"
    return [
        f"{what} no donor, though others have one: {each} is taken as a person of its own. If it is of a donor "
        "with other slides, one person counts as two: write the donor for every cell."
    ]
