from __future__ import annotations

import pytest

from mnbatch.assay.calls import CallRules, call_slide
from mnbatch.assay.cells import Quality, ScoreRow, Stain
from mnbatch.assay.stains import SlideStain, likely_stain, mixture, slide_stain

GOOD = Quality(sharpness=10, contrast=0.5, saturated_fraction=0, nuclei=2, nucleus_fraction=0.2)


def counts(fluorescence: int, giemsa: int, unknown: int = 0) -> dict[Stain, int]:
    return {"fluorescence": fluorescence, "giemsa": giemsa, "unknown": unknown}


@pytest.mark.parametrize(
    ("seen", "stain", "mixed"),
    [
        (counts(60, 0), "fluorescence", False),
        (counts(0, 60), "giemsa", False),
        (counts(90, 10), "fluorescence", False),
        (counts(89, 11), "unknown", True),
        (counts(31, 29), "unknown", True),
        (counts(30, 30), "unknown", True),
        (counts(29, 31, 40), "unknown", True),
        (counts(70, 0, 30), "fluorescence", False),
        (counts(69, 0, 31), "unknown", False),
        (counts(0, 0, 10), "unknown", False),
        (counts(0, 0), "unknown", False),
        (counts(1, 9), "giemsa", False),
        (counts(1, 1), "unknown", True),
    ],
)
def test_a_slide_has_the_stain_of_its_cells_or_is_a_mixture(seen: dict[Stain, int], stain: Stain, mixed: bool) -> None:
    assert slide_stain(seen) == stain
    assert bool(mixture(seen)) == mixed


def test_a_mixture_says_what_was_seen() -> None:
    assert mixture(counts(29, 31, 5)) == "Giemsa 31 cells, fluorescence 29 cells"


def test_the_likely_look_is_what_most_cells_show() -> None:
    assert likely_stain(counts(1, 2, 9)) == "giemsa"
    assert likely_stain(counts(0, 0, 9)) == "unknown"


def called(stain: SlideStain | None):
    stains: list[Stain] = ["giemsa"] * 18 + ["fluorescence", "unknown"]  # type: ignore[assignment]
    rows = [ScoreRow(f"s:{i}", f"{i}.png", None, 0.9, "", GOOD, stain=stain) for i, stain in enumerate(stains)]
    return call_slide(rows, CallRules(0.5), {}, None, stain)


def test_a_cell_of_another_stain_leaves_the_denominator_and_one_of_neither_follows_its_slide() -> None:
    call = called(SlideStain("giemsa", forced=False))
    assert call.frequency is not None
    assert (call.frequency.bn_cells, call.excluded_cells) == (19, 1)
    assert call.cells[18].reason == "another stain: it looks like fluorescence, its slide is Giemsa"
    assert call.warnings == ("1 of 20 cells not counted: another stain than the slide's Giemsa",)


def test_a_forced_stain_counts_every_cell_and_says_which_contradict() -> None:
    call = called(SlideStain("giemsa", forced=True))
    assert call.frequency is not None
    assert (call.frequency.bn_cells, call.excluded_cells) == (20, 0)
    assert call.warnings == ("--stain giemsa was given, but 1 of 20 cells show another; all are counted",)
    assert called(None).warnings == ()
