"""Whether the images of a slide are of one kind: one that is much larger, crowded with nuclei or a mask is no crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mnbatch.assay.cells import CellCrop, ReadItem
from mnbatch.assay.field_records import FieldReport, InputKind
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError

MOST_TIMES = 3.0
"""Crops of one scanner differ in size, but one that is three times as wide or narrow as the median is of another kind;
and a camera has one size of fields, of which half are cut at most."""

CROWDED = 7
"""Main nuclei that lie wholly in an image, as in `mnbatch.imaging.inputs`. A crop has two, and few neighbours."""

_CROWDED_SHARE = 0.25
_CROWDED_TIMES = 1.5


class _Form(NamedTuple):
    source: str
    width: int
    height: int
    nuclei: int

    @property
    def side(self) -> int:
        return max(self.width, self.height)


@dataclass(slots=True)
class ImageForms:
    """Sizes and contents of the images of a slide, gathered while they pass by."""

    kind: InputKind
    _forms: list[_Form] = field(default_factory=list)
    _masks: list[str] = field(default_factory=list)

    def note(self, item: ReadItem) -> None:
        """Remember the form of a crop or of a field; cells that were cut from fields have none of their own."""
        if isinstance(item, CellCrop) and item.found is None and item.size is not None:
            self._forms.append(_Form(item.source, item.size[1], item.size[0], item.quality.nuclei))
            if item.labels:
                self._masks.append(item.source)
        elif isinstance(item, FieldReport) and self.kind == "fields" and item.width and not item.problem:
            self._forms.append(_Form(item.source, item.width, item.height, 0))

    def trouble(self) -> SlideError | None:
        """Why the slide cannot be counted; None where its images are of one kind."""
        if self._masks:
            return SlideError(say("label-crops", file=Named("file", self._masks[0])), say("label-crops-do"))
        if not self._forms:
            return None
        usual = float(np.median([form.side for form in self._forms]))
        return _odd_size(self._forms, usual, self.kind) or (
            _crowded(self._forms, usual) if self.kind == "crops" else None
        )


def _odd_size(forms: Sequence[_Form], usual: float, kind: InputKind) -> SlideError | None:
    for form in forms:
        if not usual / MOST_TIMES < form.side < usual * MOST_TIMES:
            file = Named("file", form.source)
            why = say("odd-size", file=file, width=form.width, height=form.height, usual=f"about {usual:.0f}")
            return SlideError(why, say("odd-size-do", kind="crop" if kind == "crops" else "field"))
    return None


def _crowded(forms: Sequence[_Form], usual: float) -> SlideError | None:
    """Fields taken for crops: a quarter of the images hold many nuclei, or one does that is larger than the others."""
    crowded = [form for form in forms if form.nuclei >= CROWDED]
    large = [form for form in crowded if form.side >= _CROWDED_TIMES * usual]
    if (not large and len(crowded) < _CROWDED_SHARE * len(forms)) or not crowded:
        return None
    file = Named("file", (large or crowded)[0].source)
    why = say("crowded", count=len(crowded), cells=len(forms), nuclei=CROWDED, file=file)
    return SlideError(why, say("crowded-do"))
