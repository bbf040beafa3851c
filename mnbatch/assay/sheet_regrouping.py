"""Where the sample sheet groups slides otherwise than the donors' folders do.

The sheet holds. But a sheet of which one column was sorted and the others not gives every slide a donor, and the wrong
one; what shows is that slides of one folder are of several donors, or those of several folders of one. What other
warnings ask for is not told: a code for each person of a day's folder, for a folder that shows nothing, for each dose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mnbatch.assay.alike_names import donor_read_as, shows_nothing, spelled
from mnbatch.assay.sample_sheet import is_background
from mnbatch.assay.sheet_contradictions import listed
from mnbatch.assay.sheet_doubts import Doubt
from mnbatch.csvfile import is_number
from mnbatch.spelled_numbers import is_day_name

_PARTS_SHOWN = 4
_LIGHT = "the sample sheet groups slides otherwise than their donors' folders do"
_ADVICE = (
    "It is counted as the sheet says, and that is right for several cultures or arrivals of one person. A sheet that "
    "was sorted in one column alone looks the same: compare its lines with the slides. If your folders are no donors, "
    "begin OUT with another layout (docs/layouts.md)"
)


@dataclass(frozen=True, slots=True)
class GroupedSlide:
    """A slide of which the layout knows the donor.

    Attributes:
        name: as people know it.
        folder: the donor that its path says.
        donor: the donor that it is counted for.
        dose, control: `dose_gy` and `control` of its line of the sample sheet; "" where that states none.
    """

    name: str
    folder: str
    donor: str
    dose: str = ""
    control: str = ""

    @property
    def known_dose(self) -> str:
        """Of one spelling; a negative control is unexposed."""
        if not self.dose:
            return "0" if is_background({"control": self.control}) else ""
        return f"{float(self.dose):g}" if is_number(self.dose) else self.dose


_Slides = Sequence[GroupedSlide]


def regroupings(slides: Iterable[GroupedSlide]) -> dict[str, Doubt]:
    """Donor -> what was joined and divided; donors whose slides are those of one whole folder are not among them."""
    by_donor: dict[str, dict[str, list[GroupedSlide]]] = {}
    by_folder: dict[str, dict[str, list[GroupedSlide]]] = {}
    for slide in slides:
        by_donor.setdefault(slide.donor, {}).setdefault(slide.folder, []).append(slide)
        by_folder.setdefault(slide.folder, {}).setdefault(slide.donor, []).append(slide)
    return {
        donor: Doubt(f"the sample sheet groups slides otherwise than their folders: {said}. {_ADVICE}", _LIGHT)
        for donor, folders in by_donor.items()
        if (said := ", ".join([*_joined(folders), *_divided(donor, folders, by_folder)]))
    }


def _joined(folders: Mapping[str, _Slides]) -> Iterable[str]:
    of_people = {folder: slides for folder, slides in folders.items() if not _of_nobody(folder)}
    # To join folders whose names can hardly be told apart is what such a donor's warning asks for.
    if len({donor_read_as(folder) for folder in of_people}) > 1:
        yield f"it joins the folders {_parts(of_people)}"


def _divided(
    donor: str, folders: Mapping[str, _Slides], by_folder: Mapping[str, Mapping[str, _Slides]]
) -> Iterable[str]:
    for folder, own in folders.items():
        if _of_nobody(folder):
            continue
        parts = by_folder[folder].items()
        others = {other: slides for other, slides in parts if other != donor and not _are_samples(own, slides)}
        if others:
            yield f"it divides the folder {spelled(folder)}, of which other slides are of {_parts(others)}"


def _of_nobody(folder: str) -> bool:
    """Whether a folder's name is no code of a person, so that the sheet is asked for one of each slide."""
    return is_day_name(folder) or shows_nothing(folder)


def _are_samples(one: _Slides, other: _Slides) -> bool:
    """Whether two parts of a folder are controls, or samples of different known doses, which need a code each."""
    if all(slide.control for slide in (*one, *other)):
        return True
    doses, others = ({slide.known_dose for slide in slides} for slides in (one, other))
    return "" not in doses | others and not doses & others


def _parts(slides: Mapping[str, _Slides]) -> str:
    parts = [f"{spelled(name)} ({listed([slide.name for slide in of_it])})" for name, of_it in slides.items()]
    left = len(parts) - _PARTS_SHOWN
    if left > 0:
        return ", ".join([*parts[:_PARTS_SHOWN], f"{left} more"])
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
