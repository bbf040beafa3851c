"""Donors (else slides) are held out whole: one person on both sides flatters the figures.

Who is one person, `mnbatch.evaluation.people` says; here it is told, and formed for what cannot be held out by person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mnbatch.evaluation.labelled_cells import LabelledCell
from mnbatch.evaluation.people import People, people_of


def tell_people(cells: Sequence[LabelledCell], say: Callable[[str], None]) -> None:
    """Say what is taken for one person, and what may be one and is not."""
    for note in people_of(cells).notes:
        say(f"warning: {note}")


def people_or_slides(cells: Sequence[LabelledCell]) -> People:
    """Who the cells are of; where that is one donor alone, by slide instead, and a note says it."""
    people = people_of(cells)
    if people.count > 1 or not any(people.donors):
        return people
    slides = people_of([replace(cell, donor="") for cell in cells])
    if slides.count < 2:
        return slides
    note = (
        f"All cells are of one donor ({people.names[0]}), so its slides are held out: nothing says how the new model "
        "does on another person."
    )
    return replace(slides, notes=(*people.notes, *slides.notes, note))
