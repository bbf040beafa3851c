"""Where the sample sheet groups slides otherwise than the donors' folders do.

The sheet holds. But a sheet of which one column was sorted and the others not gives every slide a donor, and the wrong
one; what shows is that slides of one folder are of several donors, or those of several folders of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mnbatch.assay.alike_names import donor_read_as, spelled
from mnbatch.assay.sheet_contradictions import listed
from mnbatch.assay.sheet_doubts import Doubt

_PARTS_SHOWN = 4
_LIGHT = "the sample sheet groups slides otherwise than their donors' folders do"
_ADVICE = (
    "It is counted as the sheet says, and that is right for several cultures or arrivals of one person. A sheet that "
    "was sorted in one column alone looks the same: compare its lines with the slides"
)


@dataclass(frozen=True, slots=True)
class GroupedSlide:
    """A slide of which the layout knows the donor.

    Attributes:
        name: as people know it.
        folder: the donor that its path says.
        donor: the donor that it is counted for.
    """

    name: str
    folder: str
    donor: str


def regroupings(slides: Iterable[GroupedSlide]) -> dict[str, Doubt]:
    """Donor -> what was joined and divided; donors whose slides are those of one whole folder are not among them."""
    by_donor: dict[str, dict[str, list[str]]] = {}
    by_folder: dict[str, dict[str, list[str]]] = {}
    for slide in slides:
        by_donor.setdefault(slide.donor, {}).setdefault(slide.folder, []).append(slide.name)
        by_folder.setdefault(slide.folder, {}).setdefault(slide.donor, []).append(slide.name)
    return {
        donor: Doubt(f"the sample sheet groups slides otherwise than their folders: {said}. {_ADVICE}", _LIGHT)
        for donor, folders in by_donor.items()
        if (said := ", ".join([*_joined(folders), *_divided(donor, folders, by_folder)]))
    }


def _joined(folders: Mapping[str, list[str]]) -> Iterable[str]:
    # To join folders whose names can hardly be told apart is what such a donor's warning asks for.
    if len({donor_read_as(folder) for folder in folders}) > 1:
        yield f"it joins the folders {_parts(folders)}"


def _divided(donor: str, folders: Iterable[str], by_folder: Mapping[str, Mapping[str, list[str]]]) -> Iterable[str]:
    for folder in folders:
        others = {other: slides for other, slides in by_folder[folder].items() if other != donor}
        if others:
            yield f"it divides the folder {spelled(folder)}, of which other slides are of {_parts(others)}"


def _parts(slides: Mapping[str, list[str]]) -> str:
    parts = [f"{spelled(name)} ({listed(names)})" for name, names in slides.items()]
    left = len(parts) - _PARTS_SHOWN
    if left > 0:
        return ", ".join([*parts[:_PARTS_SHOWN], f"{left} more"])
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
