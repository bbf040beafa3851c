"""Slides of one donor that show the same scenes are failed by the roster, and say which slide and what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, CellScore, Quality
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.assay.near_copies import likeness_of
from mnbatch.assay.same_scene_slides import same_cells
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from tests.assay.drawn_thumbnails import cell, photographed
from tests.stamps import call_stamp, scoring

CELLS = 10


def commit(
    store: Store, slide_id: str, pictures: Sequence[np.ndarray], keep_crops: bool = False, **fields: object
) -> None:
    base: dict[str, Any] = {"name": slide_id, "path": f"D1/{slide_id}", "donor": "D1", "layout": "donor-slide-folders"}
    base |= {"call": call_stamp(), "scored": scoring(), "stain": "fluorescence", "score_key": "score"}
    record = SlideRecord(slide_id=slide_id, status="scored", stat_key="stat", **(base | fields))
    with store.writer(slide_id, keep_crops=keep_crops) as writer:
        for number, picture in enumerate(pictures):
            writer.add(score(slide_id, number, picture))
        writer.commit(record)


def score(slide_id: str, number: int, picture: np.ndarray, found: FoundAt | None = None) -> CellScore:
    crop = CellCrop(
        slide_id=slide_id,
        cell_id=f"{slide_id}:{number}.png",
        source=f"{number}.png",
        page=None,
        pixels=np.repeat(picture[..., None], 3, axis=2),
        digest=hashlib.blake2b(picture.tobytes(), digest_size=16).hexdigest(),
        stain="fluorescence",
        quality=Quality(1.0, 0.4, 0.0, 2, 0.2),
        found=found,
        likeness=likeness_of(picture),
    )
    return CellScore(crop, 0.5, np.zeros((3, 13, 13), np.float32))


def pictures_of(seed: int, take: int = 0, blur: float = 0.6) -> list[np.ndarray]:
    drawing, camera = np.random.default_rng(seed), np.random.default_rng([seed, take])
    return [photographed(cell(drawing), camera, blur) for _ in range(CELLS)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A donor with two replicates."""
    store = Store(tmp_path / "out")
    for slide_id in ("a", "b"):
        commit(store, slide_id, pictures_of(ord(slide_id)))
    return store


def statuses(store: Store) -> dict[str, str]:
    roster = open_roster(Store(store.paths.root))
    return {record.slide_id: roster.call(record)[0].status for record in roster.records}


@pytest.mark.parametrize("keep_crops", [False, True])
def test_both_slides_fail_and_name_each_other_whichever_was_scored_first(store, keep_crops) -> None:
    assert statuses(store) == {"a": "done", "b": "done"}
    commit(store, "0-first", pictures_of(ord("b"), take=1, blur=1.6), keep_crops)
    assert statuses(store) == {"0-first": "failed", "a": "done", "b": "failed"}
    roster = open_roster(store)
    reasons = {record.slide_id: roster.call(record)[0].reason for record in roster.records}
    assert "same cells as slide b of the same donor (0-first:0.png and b:0.png)" in reasons["0-first"]
    assert "same cells as slide 0-first of the same donor" in reasons["b"]
    assert "--names plain" in roster.record("b").next_step
    assert [missing.slide_id for missing in roster.missing()] == ["0-first", "b"]


def test_three_planes_all_fail(store) -> None:
    for take, slide_id in enumerate(("x", "y"), start=1):
        commit(store, slide_id, pictures_of(ord("a"), take, blur=0.6 + take))
    assert statuses(store) == {"a": "failed", "b": "done", "x": "failed", "y": "failed"}


def test_the_same_cells_under_two_donors_fail_both_and_are_said_on_every_page(store, tmp_path) -> None:
    commit(store, "c", pictures_of(ord("b"), 1, 1.6), donor="D2", path="D2/c")
    commit(store, "e", pictures_of(ord("e")), donor="D2", path="D2/e")
    assert statuses(store) == {"a": "done", "b": "failed", "c": "failed", "e": "done"}
    roster = open_roster(Store(store.paths.root))
    assert [missing.slide_id for missing in roster.missing()] == ["b", "c"]
    for slide_id, other, donors in (("b", "c", ("D2", "D1")), ("c", "b", ("D1", "D2"))):
        record = roster.record(slide_id)
        assert f"same cells as slide {other} of donor {donors[0]}" in record.reason
        assert f"cannot be donor {donors[1]}'s as well" in record.reason
        assert "sample sheet" in record.next_step


def test_a_slide_that_shows_cells_of_its_own_donor_and_of_another_one_names_its_own_first(store) -> None:
    commit(store, "0", pictures_of(ord("a"), 1, 1.6), donor="D2", path="D2/0")
    commit(store, "z", pictures_of(ord("a"), 2, 2.0))
    roster = open_roster(store)
    assert "slide z of the same donor" in roster.record("a").reason
    assert "slide a of donor D1" in roster.record("0").reason


def test_slides_a_person_spoke_for_are_left_alone(store) -> None:
    commit(store, "c", pictures_of(ord("b"), 1, 1.6), donor="D2", each_its_own=True)
    commit(store, "d", pictures_of(ord("a"), 2, 1.6), each_its_own=True)
    assert set(statuses(store).values()) == {"done"}


def test_the_sample_sheet_says_whose_slides_are_compared(store) -> None:
    commit(store, "c", pictures_of(ord("b"), 1, 1.6), donor="D2")
    assert "donor D2" in open_roster(store).record("b").reason
    assert "the same donor" in open_roster(store, {"c": {"donor": "D1"}}).record("b").reason


def test_pictures_saved_again_are_counted_once_as_before(store) -> None:
    commit(store, "c", pictures_of(ord("b"))[:-1])
    roster = open_roster(store)
    assert all(record.status == "scored" for record in roster.records)
    assert len(roster.copies["c"]) == CELLS - 1


def test_two_slides_are_compared_once_and_a_new_one_with_all(store, monkeypatch) -> None:
    compared = []

    def seen(one, other, **options):
        compared.append((one, other))
        return same_cells(one, other, **options)

    def roster(samples=None):
        compared.clear()
        fresh = Store(store.paths.root)
        found = open_roster(fresh, samples)
        fresh.keep_for_next()
        return found.records

    monkeypatch.setattr("mnbatch.results.sibling_slides.same_cells", seen)
    first = roster()
    assert (len(compared), roster(), len(compared)) == (1, first, 0)
    commit(store, "c", pictures_of(ord("b"), 1, 1.6), donor="D2", path="D2/c")
    for sheet in (None, {"c": {"donor": "D1"}}, {"c": {"donor": "D3"}}):
        kept = roster(sheet)
        assert [record.status for record in kept] == ["scored", "failed", "failed"]
        assert (roster(sheet), len(compared)) == (kept, 1), "what was found is looked at again: it may be a copy now"
        state = store.paths.compared.read_bytes()
        store.paths.compared.write_bytes(state.replace(b'"alike": [["b", "c"]]', b'"alike": []'))
        assert roster(sheet) == kept, "an edited file is not believed"
        store.paths.compared.unlink()
        assert roster(sheet) == kept
    commit(store, "b", pictures_of(ord("x")))
    assert {record.status for record in roster()} == {"scored"}


# Fields.


def commit_fields(store: Store, slide_id: str, seed: int, moved: float = 0.0) -> None:
    base: dict[str, Any] = {"name": slide_id, "path": f"D1/{slide_id}", "donor": "D1", "layout": "donor-slide-folders"}
    base |= {"call": call_stamp(), "scored": scoring(), "stain": "fluorescence", "score_key": "score"}
    record = SlideRecord(slide_id=slide_id, status="scored", stat_key="stat", input="fields", **base)
    places, pictures = np.random.default_rng(seed).uniform(60, 900, (CELLS, 2)), pictures_of(sum(slide_id.encode()))
    with store.writer(slide_id, keep_crops=False) as writer:
        for half in range(2):
            here = range(half, CELLS, 2)
            cells = tuple(found(*(places[i] + moved)) for i in here)
            for i, one in zip(here, cells, strict=True):
                writer.add(score(slide_id, i, pictures[i], one))
            report = FieldReport(slide_id, f"D1/{slide_id}/f{half}.tif", None, 0, 0, 1000, 960, cells=cells)
            writer.add_field(report)
        writer.commit(record)


def found(x: float, y: float) -> FoundAt:
    return FoundAt(
        x=x,
        y=y,
        left=int(x),
        top=int(y),
        width=40,
        height=40,
        cell_class="binucleated",
        reason="",
        nuclei=2,
        nucleus_area=1400,
        cell_area=None,
        at_border=False,
        um_per_pixel=None,
        outline=(),
    )


def test_fields_of_one_scene_in_sibling_folders_fail(tmp_path) -> None:
    store = Store(tmp_path / "out")
    commit_fields(store, "bottom", seed=1)
    commit_fields(store, "other", seed=2)
    assert statuses(store) == {"bottom": "done", "other": "done"}
    commit_fields(store, "top", seed=1, moved=1.5)
    assert statuses(store) == {"bottom": "failed", "other": "done", "top": "failed"}
    assert (
        "same fields as slide top of the same donor (f0.tif and f0.tif)" in open_roster(store).record("bottom").reason
    )
