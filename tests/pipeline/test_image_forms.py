"""Images of one slide that are not of one kind fail it, with what was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, Quality
from mnbatch.assay.field_records import FieldReport
from mnbatch.imaging.readers import holds_labels
from mnbatch.pipeline.image_forms import ImageForms


def crop(name: str, side: int, nuclei: int = 2, *, labels: bool = False) -> CellCrop:
    quality = Quality(1.0, 0.5, 0.0, nuclei, 0.2)
    pixels = np.zeros((8, 8, 3), np.uint8)
    return CellCrop(
        "s", f"s:{name}", name, None, pixels, name, "fluorescence", quality, size=(side, side), labels=labels
    )


@dataclass(frozen=True)
class Case:
    extra: CellCrop
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Case(crop("wide", 640), "640 x 640 pixels"),
        Case(crop("narrow", 30), "30 x 30 pixels"),
        Case(crop("field", 160, 12), "hold 7 nuclei or more"),
        Case(crop("mask", 100, labels=True), "a label image"),
    ],
)
def test_one_image_of_another_kind_fails_a_slide(case: Case) -> None:
    forms = ImageForms("crops")
    for number in range(20):
        forms.note(crop(str(number), 90 + number))
    assert forms.trouble() is None
    forms.note(case.extra)
    error = forms.trouble()
    assert error is not None
    assert case.says in error.message
    assert case.extra.source in error.message


def test_one_crowded_crop_of_the_usual_size_is_counted() -> None:
    forms = ImageForms("crops")
    for number in range(20):
        forms.note(crop(str(number), 100, 9 if number == 3 else 2))
    assert forms.trouble() is None


def test_small_fields_that_are_read_as_crops_are_said() -> None:
    forms = ImageForms("crops")
    for number in range(4):
        forms.note(crop(str(number), 380, 15))
    error = forms.trouble()
    assert error is not None
    assert "--input fields" in error.next_step


def test_a_preview_among_fields_fails_the_slide() -> None:
    forms = ImageForms("fields")
    for number, width in enumerate((1024, 1024, 1024, 256)):
        forms.note(FieldReport("s", f"{number}.tif", None, 0, 0, width, width))
    error = forms.trouble()
    assert error is not None
    assert "256 x 256" in error.message


def test_label_images_are_told_from_pictures() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((96, 96), np.uint8)
    labels[20:60, 20:60], labels[65:80, 65:80] = 1, 2
    assert holds_labels(labels)
    assert not holds_labels((labels * 100 + rng.integers(0, 20, labels.shape)).astype(np.uint8))
    slope = np.clip(200 - np.hypot(*np.mgrid[-48:48, -48:48]) * 6, 0, 255).astype(np.uint8)
    assert not holds_labels(slope)
