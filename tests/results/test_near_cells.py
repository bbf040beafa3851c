"""Two cells are compared once: what was found is kept beside the results, and is that of a search from nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay import near_copies
from mnbatch.results.near_cells import read_near_cells
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from tests.assay.drawn_thumbnails import cell, photographed
from tests.results.test_sibling_slides import commit

Compared = list[tuple[int, int]]


def pictures_of(seed: int, shift: int = 0) -> list[np.ndarray]:
    """Cells of a slide; with a shift the second one is the first cell of slide 0, lighter by this much."""
    rng = np.random.default_rng(seed)
    found = [photographed(cell(rng), rng) for _ in range(5)]
    if shift:
        found[1] = np.clip(pictures_of(0)[0].astype(int) + shift, 0, 255).astype(np.uint8)
    return found


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    """Pairs of cells whose pictures were compared."""
    pairs: Compared = []
    alike = near_copies._alike

    def seen(some: np.ndarray, thumbnails: object) -> np.ndarray:
        pairs.extend(map(tuple, some.tolist()))
        return alike(some, thumbnails)  # type: ignore[arg-type]

    monkeypatch.setattr(near_copies, "_alike", seen)
    monkeypatch.setattr("mnbatch.assay.nearest_cells.WITHIN", 60_000)  # all of these few cells are near each other
    return pairs


def copies(out: Path) -> dict[str, list[int]]:
    """What a report finds: slide -> cells that come again."""
    store = Store(out)
    found = open_roster(store).copies
    store.keep_for_next()
    return {slide_id: sorted(rows) for slide_id, rows in found.items()}


def test_cells_of_earlier_slides_are_not_compared_again(tmp_path: Path, compared: Compared) -> None:
    store = Store(tmp_path / "out")
    for number in range(3):
        commit(store, f"s{number}", pictures_of(number, shift=4 * (number == 1)))
    first = copies(store.paths.root)
    assert first == {"s0": [0], "s1": [1]}
    assert len(compared) > 30
    compared.clear()
    assert (copies(store.paths.root), compared) == (first, [])
    # Before all others in slide order, and another copy.
    commit(store, "r", pictures_of(9, shift=8))
    assert copies(store.paths.root) == {"r": [1], "s0": [0], "s1": [1]}
    assert compared
    assert all(min(pair) < 5 <= max(pair) or max(pair) < 5 for pair in compared)
    compared.clear()
    kept = copies(store.paths.root)
    store.paths.near_cells.unlink()
    assert copies(store.paths.root) == kept
    assert compared


def test_a_slide_that_was_scored_again_or_is_gone_takes_what_was_found_of_it_along(
    tmp_path: Path, compared: Compared
) -> None:
    store = Store(tmp_path / "out")
    for number in range(3):
        commit(store, f"s{number}", pictures_of(number, shift=4 * (number == 1)))
    assert copies(store.paths.root) == {"s0": [0], "s1": [1]}
    commit(store, "s1", pictures_of(20))
    assert copies(store.paths.root) == {}
    commit(store, "s1", pictures_of(1, shift=4))
    assert copies(store.paths.root) == {"s0": [0], "s1": [1]}
    store.forget("s0")
    assert copies(store.paths.root) == {}


def test_slides_that_change_places_are_compared_anew(tmp_path: Path, compared: Compared) -> None:
    store = Store(tmp_path / "out")
    for number in range(3):
        commit(store, f"s{number}", pictures_of(number, shift=4 * (number == 1)))
    first = copies(store.paths.root)
    record = store.record("s0")
    assert record is not None
    compared.clear()
    store.put_record(record.model_copy(update={"path": "Z/s0"}))
    assert copies(store.paths.root) == first
    assert compared


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:-2] + b"\1\1", lambda _: b""])
def test_a_file_that_is_not_what_was_written_is_not_believed(tmp_path: Path, compared: Compared, damage) -> None:
    store = Store(tmp_path / "out")
    for number in range(2):
        commit(store, f"s{number}", pictures_of(number, shift=4 * number))
    first = copies(store.paths.root)
    kept = store.paths.near_cells
    assert read_near_cells(store.paths).found is not None
    kept.write_bytes(damage(kept.read_bytes()))
    assert read_near_cells(store.paths).found is None
    compared.clear()
    assert copies(store.paths.root) == first
    assert compared


def test_force_compares_all_again(tmp_path: Path, compared: Compared) -> None:
    store = Store(tmp_path / "out")
    for number in range(2):
        commit(store, f"s{number}", pictures_of(number, shift=4 * number))
    copies(store.paths.root)
    compared.clear()
    again = Store(store.paths.root)
    again.compare_anew()
    open_roster(again)
    assert compared
