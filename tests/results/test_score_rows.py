"""A row whose text was made where the cell was read is the row that the writer would make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnbatch.assay.cells import CellScore
from mnbatch.csvfile import csv_line, read_stored
from mnbatch.results.score_rows import COLUMNS, row_text, score_row
from mnbatch.results.store import Store
from mnbatch.results.stored_crops import encode_crop, map_record, pack_maps, unpack_maps

NAMES = ["plain.png", 'a,b "c".png', " blank.png", "#first.png", "bytes\udcff.png", "=sum.png"]


def fields_of(row: str) -> dict[str, str]:
    (found,) = read_stored(f"{csv_line(COLUMNS)}\n{row}\n".encode(), COLUMNS)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ratios", [None, (0.123456789, 1e-9)])
def test_a_row_is_read_back_with_its_names_and_numbers(make_score: Any, name: str, ratios: Any) -> None:
    score = make_score(3, 0.123456789)
    crop = replace(score.crop, cell_id=f"s:{name}", source=name, page=2, size=(90, 120), zoom=1.25)
    found = fields_of(score_row(CellScore(crop, score.p_mn, score.maps, ratios), row_text(crop, 1234)))
    readable = name.encode("utf-8", "backslashreplace").decode()
    assert (found["cell_id"], found["source"], found["page"]) == (f"s:{readable}", readable, "2")
    assert (found["p_mn"], found["reason"], found["jpeg_bytes"]) == ("0.1234568", "", "1234")
    assert (found["q_2"], found["q_3"]) == (("", "") if ratios is None else ("0.1234568", "1e-09"))
    assert (found["zoom"], found["stain"], found["crop_px"], found["x"]) == ("1.25", crop.stain, "120", "")
    assert found["nuclei"] == str(crop.quality.nuclei)


@pytest.mark.parametrize("keep_crops", [True, False])
def test_the_writer_takes_the_text_that_came_with_a_crop(
    tmp_path: Path, make_record: Any, make_score: Any, keep_crops: bool
) -> None:
    written = []
    for early in (False, True):
        store, items = Store(tmp_path / str(early)), [make_score(number) for number in range(3)]
        if early:
            sizes = [len(encode_crop(item.crop.pixels)) if keep_crops else 0 for item in items]
            items = [
                replace(item, crop=replace(item.crop, row=row_text(item.crop, size)))
                for item, size in zip(items, sizes, strict=True)
            ]
        with store.writer("s", keep_crops=keep_crops) as writer:
            for item in items:
                writer.add(item)
            record = writer.commit(make_record("s"))
        written.append((store.paths.slide("s").generation(record.generation).scores).read_bytes())
    assert written[0] == written[1]


def test_maps_of_many_cells_are_packed_as_each_alone() -> None:
    rng = np.random.default_rng(1)
    maps = rng.normal(0, 1, (70, 3, 13, 13)).astype(np.float32)
    maps[:, :2] = rng.random((70, 2, 13, 13))
    maps[3, 2], maps[4], maps[5, 0] = 0, np.nan, np.nan
    together = pack_maps(maps)
    assert together == b"".join(pack_maps(one) for one in maps)
    records = np.frombuffer(together, map_record(13))
    assert np.array_equal(unpack_maps(records[4]), np.zeros((3, 13, 13)))
    assert np.abs(unpack_maps(records[9])[2] - maps[9, 2]).max() <= np.abs(maps[9, 2]).max() * 0.5 / 127 + 1e-6
