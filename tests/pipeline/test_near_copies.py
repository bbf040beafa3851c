"""Pictures that were saved again come in a second time: they count once, and both sides say so."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mnbatch.pipeline.run import run
from mnbatch.results.store import Store


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))


def saved_again(source: Path, target: Path, quality: int = 60) -> None:
    with Image.open(source) as image:
        values = image.convert("I") if image.mode.startswith("I") else image
        grey = values.point(lambda v: v / 256).convert("L") if values.mode == "I" else values.convert("RGB")
        grey.transpose(Image.Transpose.ROTATE_90).save(target, "JPEG", quality=quality)


def results(out: Path) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    slides = {f"{row['donor']}/{row['slide']}": row for row in table(out / "slides.csv")}
    cells = {row["source"]: row for path in out.glob("slides/*/cells.csv") for row in table(path)}
    return slides, cells


@pytest.mark.parametrize("keep_crops", [True, False])
def test_within_a_donor_the_first_counts_and_both_slides_say_it(tmp_path, settings, export, keep_crops) -> None:
    saved_again(export / "D1/A/cell_002.png", export / "D1/B/x.jpg")
    run(settings(keep_crops=keep_crops))
    slides, cells = results(tmp_path / "out")
    copy = cells["D1/B/x.jpg"]
    assert copy["mn"] == ""
    assert copy["reason"].startswith("copy (with other pixels) of ")
    assert copy["reason"].endswith("D1/A/cell_002.png, counted there")
    assert cells["D1/A/cell_002.png"]["mn"] != ""
    assert (slides["D1/A"]["bn_cells"], slides["D1/B"]["bn_cells"]) == ("6", "6")
    assert "1 cell found again in" in slides["D1/A"]["warnings"]
    assert "copies of cells counted elsewhere, 1 of them with other pixels" in slides["D1/B"]["warnings"]
    assert not any("copies" in slides[name]["warnings"] for name in ("D2/A", "D2/B"))


def test_a_copy_in_its_own_slide_counts_once(tmp_path, settings, export) -> None:
    saved_again(export / "D1/A/cell_002.png", export / "D1/A/y.jpg", quality=85)
    run(settings())
    slides, cells = results(tmp_path / "out")
    assert slides["D1/A"]["bn_cells"] == "6"
    assert cells["D1/A/y.jpg"]["reason"].startswith("copy (with other pixels) of ")


def test_under_two_donors_a_few_count_for_neither_and_many_fail_both(tmp_path, settings, export) -> None:
    saved_again(export / "D1/A/cell_002.png", export / "D2/A/x.jpg")
    run(settings())
    slides, cells = results(tmp_path / "out")
    assert {cells[name]["mn"] for name in ("D1/A/cell_002.png", "D2/A/x.jpg")} == {""}
    for name in ("D1/A", "D2/A"):
        assert "1 of them with other pixels" in slides[name]["warnings"]
    for number in (0, 1, 3):
        saved_again(export / f"D1/A/cell_00{number}.png", export / f"D2/A/x{number}.jpg")
    run(settings())
    slides, _ = results(tmp_path / "out")
    assert (slides["D1/A"]["status"], slides["D2/A"]["status"]) == ("failed", "failed")
    assert (slides["D1/B"]["status"], slides["D2/B"]["status"]) == ("done", "done")


def test_whole_slides_of_equal_files_under_two_donors_both_fail(tmp_path, settings, export) -> None:
    shutil.copytree(export / "D1/A", export / "D2/C")
    run(settings())
    slides, _ = results(tmp_path / "out")
    assert (slides["D1/A"]["status"], slides["D2/C"]["status"]) == ("failed", "failed")
    assert "donor D2" in slides["D1/A"]["reason"]
    assert "donor D1" in slides["D2/C"]["reason"]


def test_a_slide_that_an_earlier_version_scored_says_that_it_is_not_compared(tmp_path, settings, export) -> None:
    run(settings())
    store = Store(tmp_path / "out")
    record = store.records()[0]
    sizes = {name: size for name, size in record.sizes.items() if name != "spectra.bin"}
    checksums = {name: value for name, value in record.checksums.items() if name != "spectra.bin"}
    store.put_record(record.model_copy(update={"sizes": sizes, "checksums": checksums}))
    run(settings())
    slides, _ = results(tmp_path / "out")
    assert [name for name, row in slides.items() if "are not looked for" in row["warnings"]] == ["D1/A"]
