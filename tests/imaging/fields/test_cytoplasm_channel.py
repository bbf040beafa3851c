"""A cytoplasm channel: nuclei within one cytoplasm are one cell, and nuclei whose cytoplasms are apart are two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.assay.cells import Slide
from mnbatch.assay.field_records import FieldReport
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import SlideError, UsageError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_source import FieldSource
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.pages_of_slide import said_of_pages
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.segmentation import SegmentationSettings, segment_field
from mnbatch.settings import resolve
from tests.imaging.segmentation.drawn_fields import discs

SIZE = (420, 520)
NEAR, APART, FAR, DIM, ALONE = (
    ((80, 90), (108, 90)),
    ((280, 90), (318, 90)),
    ((90, 220), (142, 220)),
    ((300, 220), (352, 220)),
    (100, 360),
)
NUCLEI = discs(SIZE, [(x, y, 12) for x, y in (*NEAR, *APART, *FAR, *DIM, ALONE)])
BODIES = [(94, 90, 32), *((x, y, 16) for x, y in APART), (116, 220, 45), (326, 220, 45, 50), (*ALONE, 22)]
CYTOPLASM = discs(SIZE, BODIES, level=120, seed=1)
PAIRED = [(94, 90), (116, 220), (326, 220)]
"""The pairs that are within one cytoplasm, also where it is dim; by distance alone the first two pairs would be."""


def read(root: Path, **said: str) -> list[FieldReport]:
    (slide,) = find_slides(
        root, kind="fields", options=PageOptions(said.get("channel"), cytoplasm=said.get("cytoplasm"))
    )
    return read_slide(slide, **said)


def read_slide(slide: Slide, **said: str) -> list[FieldReport]:
    source = FieldSource(slide, Preparation(), FieldOptions(**said))
    traits = Survey(source.tasks(), source.look).traits()
    assert traits.nucleus_diameter == pytest.approx(24, abs=2)
    return [one for task in source.tasks() for one in source.read(task, traits) if isinstance(one, FieldReport)]


def pairs(report: FieldReport) -> list[tuple[int, int]]:
    return sorted((round(c.x), round(c.y)) for c in report.cells if c.cell_class == "binucleated")


def near(found: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> bool:
    return len(found) == len(wanted) and bool(np.abs(np.array(found) - sorted(wanted)).max() <= 2)


def write(path: Path, *channels: np.ndarray, names: tuple[str, ...] = ("DAPI", "Phalloidin")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(channels) == 1:
        tifffile.imwrite(path, channels[0])
    else:
        tifffile.imwrite(path, np.stack(channels), ome=True, metadata={"axes": "CYX", "Channel": {"Name": list(names)}})


def test_nuclei_are_paired_by_the_second_channel_of_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a" / "field.ome.tif", NUCLEI, CYTOPLASM)
    assert near(pairs(*read(tmp_path)), [(94, 90), (299, 90)])
    assert near(pairs(*read(tmp_path, cytoplasm="Phalloidin")), PAIRED)


def test_nuclei_are_paired_by_the_file_of_the_second_channel(tmp_path: Path) -> None:
    for field in "12":
        for channel, picture in (("1", NUCLEI), ("2", CYTOPLASM), ("3", NUCLEI // 2)):
            write(tmp_path / "plate" / f"r02c03f0{field}p01-ch{channel}sk1fk1fl1.tiff", picture)
    (slide,) = find_slides(tmp_path, kind="fields", options=PageOptions("1", cytoplasm="2"))
    assert slide.named is not None
    assert slide.named.described().endswith("read: channel 1, channel 2 for the cytoplasm")
    assert all(near(pairs(report), PAIRED) for report in read_slide(slide, channel="1", cytoplasm="2"))
    assert "channel 1, channel 2" not in " ".join(str(one.reason) for one in slide.skipped)
    (tmp_path / "plate" / "r02c03f02p01-ch2sk1fk1fl1.tiff").unlink()
    (slide,) = find_slides(tmp_path, kind="fields", options=PageOptions("1", cytoplasm="2"))
    assert slide.refused is not None
    assert "has no file of the channel that is read (2)" in slide.refused[0]
    (slide,) = find_slides(tmp_path, kind="fields", options=PageOptions("1"))
    assert slide.refused is None


@pytest.mark.parametrize(
    ("channels", "names", "why"),
    [
        ((NUCLEI,), (), "the same picture as the nuclear channel"),
        ((NUCLEI, CYTOPLASM), ("DAPI", "Actin"), "it has 2 channels (DAPI, Actin), and not one of that name"),
        ((NUCLEI, CYTOPLASM, NUCLEI), ("DAPI", "Phalloidin", "Phalloidin"), "it has 3 channels"),
        ((NUCLEI, NUCLEI), ("DAPI", "Phalloidin"), "the same picture as the nuclear channel"),
    ],
)
def test_a_slide_without_the_channel_fails_and_says_so(
    tmp_path: Path, channels: tuple[np.ndarray, ...], names: tuple[str, ...], why: str
) -> None:
    write(tmp_path / "a" / "field.ome.tif", *channels, names=names)
    with pytest.raises(
        SlideError, match=r"The cytoplasm channel \(Phalloidin\) is missing in .*field.ome.tif"
    ) as error:
        read(tmp_path, cytoplasm="Phalloidin")
    assert why in str(error.value)
    (slide,) = find_slides(tmp_path, kind="fields")
    with pytest.raises(SlideError, match="is missing"):
        said_of_pages(slide, PageOptions(cytoplasm="Phalloidin"))


def test_a_field_whose_cytoplasm_channel_shows_nothing_gives_no_cells(tmp_path: Path) -> None:
    write(tmp_path / "a" / "field.ome.tif", NUCLEI, discs(SIZE, [], seed=2))
    (report,) = read(tmp_path, cytoplasm="2")
    assert (report.cells, report.problem) == (
        (),
        "in its cytoplasm channel no cytoplasm round the nuclei differs from the background",
    )


def test_the_option_is_part_of_what_makes_scores_of_fields_stale_and_not_those_of_crops() -> None:
    assert FieldOptions(cytoplasm="2").key(None) != FieldOptions().key(None)
    assert PageOptions(cytoplasm="2").key() == ""


def test_a_channel_cannot_be_both_and_sizes_must_agree() -> None:
    same = {"export": Path("a"), "out": Path("b"), "nuclear_channel": "DAPI", "cytoplasm_channel": "dapi"}
    with pytest.raises(UsageError, match=r"--cytoplasm-channel cannot be 'dapi'.*it is the nuclear channel"):
        resolve(same, environment={})
    with pytest.raises(ValueError, match="the cytoplasm channel has"):
        segment_field(NUCLEI, SegmentationSettings(), cytoplasm=CYTOPLASM[:-1])
