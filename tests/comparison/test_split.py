"""6:2:2, no donor divided, no picture twice; what cannot be split is refused."""

import csv
import shutil

import numpy as np
import pytest

from mnbatch.comparison.data_split import read_data, split_in_three
from mnbatch.errors import TrainingError


def test_single_cells_split_6_2_2_within_each_class():
    labels = np.arange(1000) % 10 == 0
    parts = split_in_three(labels, [str(i) for i in range(1000)], seed=1)
    assert [len(part) for part in parts] == [600, 200, 200]
    assert [int(labels[part].sum()) for part in parts] == [60, 20, 20]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))


@pytest.mark.parametrize("seed", range(5))
def test_no_donor_is_divided_and_parts_come_near_their_shares(seed):
    rng = np.random.default_rng(seed)
    units = np.repeat([f"d{i}" for i in range(25)], rng.integers(10, 60, 25))
    labels = rng.uniform(size=len(units)) < 0.2
    parts = split_in_three(labels, list(units), seed)
    donors = [set(units[part]) for part in parts]
    assert sum(map(len, donors)) == len(set.union(*donors)) == 25
    assert [len(part) / len(units) for part in parts] == pytest.approx([0.6, 0.2, 0.2], abs=0.06)


@pytest.mark.parametrize("units", [[str(i) for i in range(400)], [str(int(i**0.5)) for i in range(400)]])
def test_seeds_split_differently_and_repeatably(units):
    labels = np.arange(400) % 2 == 0
    first, again, other = (split_in_three(labels, units, seed)[2] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_donors_are_refused_with_the_part_that_lacks_cells():
    with pytest.raises(TrainingError, match=r"validation part has 0 cells with .* \(2 donors"):
        split_in_three(np.arange(20) % 2 == 0, ["a", "b"] * 10, 1)


def test_labels_with_donors_give_no_warning(crops):
    data = read_data(crops)
    assert (data.groups, data.warning) == (10, "")
    assert len(set(data.units)) == 10


def test_labels_without_donors_warn_of_the_leak_and_copies_are_left_out(crops, tmp_path):
    folder = tmp_path / "folders"
    for name in ("mn", "nomn"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        shutil.copy(crops.parent / f"{number}.png", folder / ("nomn" if number % 3 else "mn"))
    shutil.copy(crops.parent / "1.png", folder / "nomn" / "copy.png")
    data = read_data(folder)
    assert "12 of 12 cells have no donor or slide" in data.warning
    assert len(data.cells) == len(set(data.units)) == 12
    assert "1 of 13 labelled files are copies of others and were left out: copy.png." in data.note


def test_copies_under_two_donors_are_one_cell_and_the_tables_say_it(crops, tmp_path):
    rows = list(csv.reader(crops.open()))
    for file, label, donor in rows[1:13]:
        shutil.copy(crops.parent / file, crops.parent / f"again-{file}")
        rows.append([f"again-{file}", label, f"other-{donor}"])
    with crops.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    data = read_data(crops)
    assert len(data.cells) == len(set(data.contents)) == 60
    assert "12 of 72 labelled files are copies of others" in data.note


def test_donors_that_read_the_same_are_not_divided(crops):
    rows = list(csv.reader(crops.open()))
    for row in rows[2::2]:
        row[2] = row[2].upper()
    with crops.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    data = read_data(crops)
    assert data.groups == len(set(data.units)) == 10
    assert "The donors 'D0' and 'd0' read the same: they are taken as one" in data.people.notes[0]


def test_a_picture_with_both_labels_is_refused(crops):
    shutil.copy(crops.parent / "0.png", crops.parent / "1.png")
    with pytest.raises(TrainingError, match="the same picture, once with and once without"):
        read_data(crops)


def test_digest_follows_content_and_labels_not_place(crops, tmp_path):
    before = read_data(crops).digest
    moved = tmp_path / "moved"
    shutil.copytree(crops.parent, moved)
    assert read_data(moved / "labels.csv").digest == before
    rows = list(csv.reader(crops.open()))
    rows[2][1] = "mn"
    with crops.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    assert read_data(crops).digest != before


def test_cells_of_one_person_are_refused_with_that_reason():
    """It said that the validation part lacks cells of both classes, which nobody can add to one person."""
    with pytest.raises(TrainingError, match=r"All 40 cells are of one person or slide \(D1 and D2\)"):
        split_in_three(np.arange(40) % 4 == 0, ["group D1 and D2"] * 40, 1)
