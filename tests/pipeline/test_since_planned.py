"""What came into a slide's folders since its plan: all of it is found, and nothing that was there is taken for new."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from mnbatch.assay.cells import Slide
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.instruments import INSTRUMENTS
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.plan_file import plan_lines, read_plan
from mnbatch.pipeline.planning import Plan
from mnbatch.pipeline.since_planned import Arrivals
from tests.imaging.export_trees import Tree, trees
from tests.imaging.imaging_helpers import draw_cell, encoded, put
from tests.pipeline.test_vendor_runs import FORMATS


def put_all(root: Path, *paths: str) -> None:
    for seed, path in enumerate(paths):
        put(root, path, encoded(draw_cell(size=24, seed=seed)) if path.endswith("g") else b"II*\0" + path.encode())


PLANES = tuple(f"D1/S{s}/z{z}/{c}.tif" for s in (1, 2) for z in (1, 2, 3) for c in ("a", "b"))
OPERETTA = tuple(
    f"p/r02c0{w}f0{f}p0{p}-ch{c}sk1fk1fl1.tiff" for w in (3, 4) for f in (1, 2) for p in (1, 2) for c in "12"
)
CASES: dict[str, tuple[str, str, PageOptions, tuple[str, ...]]] = {
    "previews": ("folder-per-slide", "crops", NO_OPTIONS, ("S/0.tif", "S/0.jpg", "S/1.tif", "S/1.jpg", "S/1.png")),
    "litter": (
        "folder-per-slide",
        "crops",
        NO_OPTIONS,
        ("S/0.tif", "S/.1.tif", "S/Thumbs.db", "S/@eaDir/0.tif", "S/.snapshots/0.tif", "S/._0.tif", "S/notes.txt"),
    ),
    "thumbnails": (
        "folder-per-slide",
        "crops",
        NO_OPTIONS,
        ("S/0.png", "S/1.png", "S/thumbs/0.png", "S/overview.png", "S/0_mask.png", "S/masks/0.png", "S/masks/1.png"),
    ),
    "of one stem": (
        "folder-per-slide",
        "crops",
        NO_OPTIONS,
        ("S/0.tif", "S/0.TIF", "S/a/0.tif", "S/a/b/0.tif", "0.tif"),
    ),
    "flat": (
        "flat-files",
        "crops",
        NO_OPTIONS,
        tuple(f"{f}D{d}_{s}_{c}.png" for f in ("", "x/") for d in "12" for s in "AB" for c in "12"),
    ),
    "donors": ("donor-slide-folders", "crops", NO_OPTIONS, ("D1/A/1.png", "D1/A/2.png", "D1/A/x/3.png", "D1/B/1.png")),
    "galleries": ("tiff-galleries", "crops", NO_OPTIONS, ("a.tif", "b.tif", "x/c.tiff", "x/d.tif")),
    "spread": (
        "{donor}/{slide}/**/{cell}.tif",
        "crops",
        NO_OPTIONS,
        ("D1/A/x/1.tif", "D1/A/y/1.tif", "D1/A/1.tif", "D1/B/x/1.tif"),
    ),
    "planes": ("{donor}/{slide}/z{plane}/{field}.tif", "fields", NO_OPTIONS, PLANES),
    "any depth": ("**/{slide}/z{plane}/{field}.tif", "fields", NO_OPTIONS, PLANES),
    "images": (
        "folder-per-slide",
        "fields",
        NO_OPTIONS,
        ("S/images/1.tif", "S/images/1_mask.tif", "S/2.tif", "S/masks/2.tif", "S/T/3.tif"),
    ),
    "operetta": ("folder-per-slide", "fields", PageOptions(channel="1"), OPERETTA),
    "operetta, not said": ("folder-per-slide", "fields", NO_OPTIONS, OPERETTA),
    "copies": (
        "folder-per-slide",
        "crops",
        NO_OPTIONS,
        ("S/0.png", "S/0 (1).png", "S/0 - Copy.png", "S/copy/0.jpg", "S/small/0.jpg"),
    ),
    "mrxs": (
        "folder-per-slide",
        "wsi",
        NO_OPTIONS,
        ("a.mrxs", "a/Slidedat.ini", "a/Data0000.dat", "b.svs", "b.jpg", "x/c.ndpi"),
    ),
    "dicom": ("folder-per-slide", "wsi", NO_OPTIONS, ("S/1.dcm", "S/2.dcm", "S/3.dcm", "T/1.dcm")),
    "foreign": (
        "folder-per-slide",
        "fields",
        NO_OPTIONS,
        ("S/a.tif", "S/b.oib", "T/c.czi", "U/d.zip", "U/a.tif", "V/cell"),
    ),
}


def planned(root: Path, layout: str, kind: str, options: PageOptions = NO_OPTIONS) -> list[Slide]:
    return list(find_slides(root, layout=layout, kind=kind, options=options, stated=True))  # type: ignore[arg-type]


def all_come(slides: list[Slide], options: PageOptions = NO_OPTIONS) -> Iterator[tuple[str, list[str]]]:
    arrivals = Arrivals(options, stated=True)
    return ((slide.path, came) for slide in slides if (came := arrivals.of(slide)))


@pytest.mark.parametrize("name", CASES)
def test_nothing_came_since_a_plan_that_was_just_made(
    name: str, tmp_path: Path, settings: Callable[..., object]
) -> None:
    """The slides as they come back from the plan's file."""
    layout, kind, options, paths = CASES[name]
    root, file = tmp_path / "other", tmp_path / "plan.json"
    put_all(root, *paths)
    found = planned(root, layout, kind, options)
    resolved = settings(export=root, layout=layout, input=kind)
    models = ModelSet.open(resolved.settings.model)  # type: ignore[attr-defined]
    plans = [Plan(slide, "score", "new", None) for slide in found]
    file.write_text("".join(plan_lines(plans, resolved.settings, models)))  # type: ignore[attr-defined]
    back = [one.slide for one in read_plan(file).slides]
    assert back == found
    assert dict(all_come(back, options)) == {}


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_came_into_files_of_microscopes(name: str, tmp_path: Path) -> None:
    package, write = FORMATS[name]
    pytest.importorskip(package, reason=f"{name} needs {package}: pip install 'mnbatch[vendor]'")
    write(tmp_path)
    assert dict(all_come(planned(tmp_path, "folder-per-slide", "fields"))) == {}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda one: one.name)
def test_nothing_came_into_files_of_instruments(instrument, tmp_path: Path) -> None:
    for number in range(3):
        put_all(tmp_path, f"S{number}/{instrument.example}")
        put_all(tmp_path, f"S{number}/{number}_{instrument.example}")
    for kind in ("fields", "crops"):
        assert dict(all_come(planned(tmp_path, "folder-per-slide", kind))) == {}


@hypothesis_settings(
    deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None, max_examples=25
)
@given(trees())
def test_nothing_came_into_any_tree(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path, content in tree.files.items():
            put(Path(folder), path, content)
        found = [one for one in planned(Path(folder), "folder-per-slide", "crops", tree.options) if one.waits is None]
        assert dict(all_come(found, tree.options)) == {}, tree.how


@pytest.mark.parametrize(
    ("layout", "kind", "there", "late"),
    [
        ("{donor}/{slide}/**/{cell}.tif", "crops", ("D1/A/x/1.tif",), "D1/A/new/deep/2.tif"),
        ("{donor}/{slide}/**/{cell}.tif", "crops", ("D1/A/x/1.tif",), "D1/A/2.tif"),
        ("{donor}/{slide}/z{plane}/{field}.tif", "fields", PLANES, "D1/S1/z4/a.tif"),
        ("**/{slide}/z{plane}/{field}.tif", "fields", PLANES, "D1/S1/z4/a.tif"),
        ("folder-per-slide", "fields", ("S/1.tif",), "S/images/2.tif"),
        ("folder-per-slide", "crops", ("S/1.tif",), "S/2.tif.part"),
        ("folder-per-slide", "crops", ("S/1.tif",), "S/.2.tif.X4kQ9z"),
        ("folder-per-slide", "crops", ("S/1.tif",), "S/2.tif~"),
        ("folder-per-slide", "crops", ("1.tif",), "2.tif"),
        ("flat-files", "crops", ("D1_A_1.tif", "D1_B_1.tif"), "D1_A_2.tif.filepart"),
        ("{donor}/{slide}/**/{cell}.tif", "crops", ("D1/A/x/1.tif",), "D1/A/new/.2.tif.X4kQ9z"),
        ("folder-per-slide", "wsi", ("a.mrxs", "a/Data0000.dat"), "a/Data0001.dat"),
    ],
)
def test_what_came_is_found(layout: str, kind: str, there: tuple[str, ...], late: str, tmp_path: Path) -> None:
    """In a new folder too, and while its copy is not finished; no other slide is touched."""
    root = tmp_path / "export"
    put_all(root, *there)
    slides = planned(root, layout, kind)
    put_all(root, late)
    assert [came for slide in slides if (came := Arrivals().of(slide))] == [[late]]


@pytest.mark.parametrize(
    "late", ["S/notes.txt", "S/.hidden.tif", "S/Thumbs.db", "S/thumbs/1.tif", "S/T/1.tif", "S/x.txt.part", "U/1.tif"]
)
def test_what_is_no_image_of_the_slide_is_not(late: str, tmp_path: Path) -> None:
    root = tmp_path / "export"
    put_all(root, "S/1.tif", "S/2.tif")
    slides = planned(root, "folder-per-slide", "crops")
    put_all(root, late)
    assert dict(all_come(slides)) == {}


def test_folders_that_lead_round_in_a_circle_end(tmp_path: Path) -> None:
    root = tmp_path / "export"
    put_all(root, "D1/A/x/1.tif")
    slides = planned(root, "{donor}/{slide}/**/{cell}.tif", "crops")
    os.symlink("..", root / "D1/A/x/up")
    os.symlink("../../..", root / "D1/A/x/top")
    assert dict(all_come(slides)) == {}
    put_all(root, "D1/A/y/2.tif")
    assert dict(all_come(slides)) == {"D1/A": ["D1/A/y/2.tif"]}
