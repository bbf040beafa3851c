"""What the fields of a slide held, counted while they pass by; and when a slide of fields is no result.

Problems of fields come here with their names coded already, where they are to be.
"""

from __future__ import annotations

from collections import Counter

from mnbatch.assay.fields import CellsWanted, FieldReport
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError
from mnbatch.results.records import FieldsStamp, LeftOut

MOST_SET_ASIDE = 0.5
"""A slide of which a larger share of its fields cannot be used fails: what is left is no fair sample of it."""

_SHOWN = 3
_WANTED = {"binucleated": "binucleated cell", "all": "nucleus"}


class FieldTally:
    """Counts of one slide.

    Args:
        cells: which cells are scored.
    """

    def __init__(self, cells: CellsWanted) -> None:
        self._cells: CellsWanted = cells
        self._fields = self._empty = 0
        self._set_aside: list[LeftOut] = []
        self._emptiness: Counter[str] = Counter()
        self._transient = False
        self._classes: Counter[str] = Counter()
        self._not_scored: Counter[str] = Counter()
        self._um: float | None = None

    def add(self, report: FieldReport) -> None:
        """Count one field."""
        self._fields += 1
        self._empty += report.empty
        if report.emptiness:
            self._emptiness[report.emptiness] += 1
        if report.problem:
            self._set_aside.append(LeftOut(path=_name(report), reason=report.problem))
            self._transient = self._transient or report.transient
        for cell in report.cells:
            self._classes[cell.cell_class] += 1
            self._um = self._um or cell.um_per_pixel
            if cell.reason:
                self._not_scored[cell.reason] += 1

    def stamp(self) -> FieldsStamp:
        """The counts as the record keeps them."""
        return FieldsStamp(
            cells=self._cells,
            fields=self._fields,
            empty=self._empty,
            set_aside=tuple(self._set_aside),
            classes=dict(self._classes.most_common()),
            not_scored=dict(self._not_scored.most_common()),
            um_per_pixel=self._um,
        )

    def failure(self, name: str, scored: int) -> SlideError | None:
        """Why the slide gives no result; None where it gives one.

        Args:
            name: of the slide.
            scored: cells that were cut from it.
        """
        bad, slide = len(self._set_aside), Named("slide", name)
        if bad > MOST_SET_ASIDE * self._fields:
            return SlideError(
                say("fields-unusable", bad=bad, fields=self._fields, slide=slide, why=self._why_set_aside()),
                say("fields-unusable-do"),
                transient=self._transient,
            )
        if scored:
            return None
        classes = "; ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in self._classes.most_common())
        found = classes or _commonest(self._emptiness) or "none"
        return SlideError(
            say("nothing-found", wanted=_WANTED[self._cells], fields=self._fields, slide=slide, found=found),
            say("nothing-found-do"),
            transient=self._transient,
        )

    def warnings(self) -> tuple[str, ...]:
        """What a reader of the slide's number must know."""
        said = []
        if self._set_aside:
            said.append(f"{len(self._set_aside)} of {self._fields} fields were set aside: {self._why_set_aside()}")
        if self._cells == "all":
            said.append(
                "scored with --cells all: every main nucleus counts as a cell, whether binucleated or not; where BN "
                "cells and MNBN are named, read cells and cells with MN, and the literature's background does not hold"
            )
        return tuple(said)

    def _why_set_aside(self) -> str:
        return _commonest(Counter(left.reason for left in self._set_aside))


def _commonest(reasons: Counter[str]) -> str:
    text = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(_SHOWN))
    return text + ("; ..." if len(reasons) > _SHOWN else "")


def _name(report: FieldReport) -> str:
    source = report.source.encode("utf-8", "backslashreplace").decode()
    return source if report.page is None else f"{source}#{report.page}"
