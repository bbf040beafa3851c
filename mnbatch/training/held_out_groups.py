"""Donors (else slides) whose names read the same are held out together: one person on both sides flatters the figures.

Only what is held out goes by this. Tables, cards and reports keep the names as they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mnbatch.assay.alike_names import alike_names, spelled
from mnbatch.evaluation.labelled_cells import LabelledCell


def held_out_names(names: Iterable[str]) -> dict[str, str]:
    """Each name -> what it is held out as: itself, or all spellings that read the same (`D1 and d1`)."""
    known = set(names)
    together = {name: " and ".join(group) for group in _alike(known) for name in group}
    return {name: together.get(name, name) for name in known}


def alike_lines(names: Iterable[str], word: str) -> list[str]:
    """What a person is to be told of names that read the same.

    Args:
        word: what they are names of, in the plural.
    """
    return [
        f"warning: the {word} {' and '.join(map(spelled, group))} read the same: they are one in what is held out; "
        "if they are the same, write one name for both"
        for group in _alike(set(names))
    ]


def held_out_together(cells: Sequence[LabelledCell], say: Callable[[str], None]) -> list[LabelledCell]:
    """The cells, to be divided by `group`: one name for all spellings of a donor or slide; `say` is told of them."""
    for line in alike_lines((cell.group for cell in cells), "donors or slides"):
        say(line)
    names = held_out_names(cell.group for cell in cells)
    return [replace(cell, donor=names[cell.group]) if names[cell.group] != cell.group else cell for cell in cells]


def _alike(names: set[str]) -> tuple[tuple[str, ...], ...]:
    return alike_names(sorted(names - {""}))
