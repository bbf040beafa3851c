"""Which labelled cells are of one person: by donor, by slide where a cell names none, whatever the spelling."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from mnbatch.evaluation.evaluation_records import Request
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.evaluation_set import LabelledSet, read_labelled_set
from mnbatch.evaluation.evaluation_tables import metrics_csv, scores_csv
from mnbatch.evaluation.labelled_cells import LabelledCell, people_in_both, split_cells
from mnbatch.evaluation.people import people_of


@dataclass
class Row:
    slide: str = ""
    donor: str = ""


def cells(told: list[tuple[str, str]]) -> list[LabelledCell]:
    return [LabelledCell(Path(f"{i}.png"), i % 2 == 0, slide, donor) for i, (slide, donor) in enumerate(told)]


def test_a_cell_without_a_donor_is_of_the_donor_of_its_slide() -> None:
    people = people_of([Row("S0", "D0"), Row("S0"), Row("S1"), Row("s0"), Row("S1", "D1"), Row("S2", "D0")])
    assert people.names == ("D0", "D0", "D1", "D0", "D1", "D0") == people.donors
    assert people.kind == "donor"
    assert people.notes == ("3 cells name no donor: the donor is taken from other cells of the slide.",)


def test_slides_of_two_donors_may_have_one_name() -> None:
    people = people_of([Row("1", "D0"), Row("1", "D1"), Row("2", "D0"), Row("", "D1")])
    assert people.names == ("D0", "D1", "D0", "D1")
    assert people.slides == ("D0/1", "D1/1", "2", "")
    assert people.notes == ()


def test_a_slide_that_may_be_of_two_donors_joins_them_with_a_word() -> None:
    people = people_of([Row("1", "D0"), Row("1", "D1"), Row("1"), Row("2", "D0"), Row("2", "D2")])
    assert people.names == ("D0 and D1",) * 4 + ("D2",)
    assert people.donors == ("D0", "D1", "", "D0", "D2")
    assert people.slides == ("1", "1", "1", "D0/2", "D2/2")
    (note,) = people.notes
    assert note.startswith("Cells of the slide '1' name the donors 'D0' and 'D1', and others name none")


def test_names_that_read_the_same_are_one_in_the_order_of_the_letters() -> None:
    rows = [Row("a", "D1"), Row("b", "d1"), Row("c", "D1 "), Row("d", "D01"), Row("e", "D2"), Row("f", "D10")]
    people = people_of(rows)
    assert people.names == ("D01 and D1 and D1  and d1",) * 4 + ("D2", "D10")
    assert people_of(rows[::-1]).names == people.names[::-1], "not of the table"
    (note,) = people.notes
    assert note.startswith("The donors 'D01' and 'D1' and 'D1 ' and 'd1' read the same: they are taken as one.")


def test_slides_without_any_donor_count_by_name() -> None:
    people = people_of([Row("x"), Row("X"), Row("01"), Row("1"), Row()])
    assert people.names == ("X and x", "X and x", "01", "1", "")
    assert (people.kind, people.count) == ("slide", 3)
    assert [note.split(":")[0] for note in people.notes] == ["The slides 'X' and 'x' read the same"]
    assert people_of([]).kind == people_of([Row()]).kind == ""


def test_slides_without_a_donor_beside_donors_are_told() -> None:
    people = people_of([Row("a", "D1"), Row("b"), Row("c", "D2")])
    assert people.names == ("D1", "b", "D2")
    assert people.kind == "donor or slide"
    (note,) = people.notes
    assert note.startswith("The slide 'b' has no donor, though others have one")


@pytest.mark.parametrize("seed", range(5))
def test_no_slide_is_divided_where_half_of_its_cells_name_a_donor(seed: int) -> None:
    told = [(f"S{i}", f"D{i}" if named else "") for i in range(6) for named in (False, False, True, True)]
    parts = split_cells(cells(told), 0.2, seed)
    training, validation = ({cell.slide for cell in part} for part in parts)
    assert not training & validation
    assert training | validation == {f"S{i}" for i in range(6)}


def test_people_in_training_and_in_validation_are_said_however_they_are_spelled() -> None:
    training = cells([("S0", "D0"), ("S1", "D1"), ("S2", "D2")])
    assert people_in_both(training, cells([("S0", "D5"), ("S7", "D6"), ("", "")])) == ""
    said = people_in_both(training, cells([("S8", "d0"), ("S1", ""), ("S9", "D9"), ("", "")]))
    assert said == (
        "2 of 4 validation cells are of donors or slides that training cells are of, too (D0 and d0, D1): validation "
        "figures are higher than on new ones."
    )


def relabelled(labels: Path, change: dict[str, list[str]]) -> Path:
    """The labels with other columns."""
    with labels.open() as stream:
        rows = list(csv.DictReader(stream))
    for name, values in change.items():
        for row, value in zip(rows, values * len(rows), strict=False):
            row[name] = value
    table = labels.with_name("other.csv")
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def units(data: LabelledSet) -> str:
    return data.units(None, range(len(data.cells))).method


def test_few_donors_named_for_few_cells_are_few_clusters(labelled: Path) -> None:
    named = ["D1", "D1", *[""] * 22]
    data = read_labelled_set(relabelled(labelled, {"slide": ["S0", "S1", "S2"], "donor": named}))
    assert units(data) == "bootstrap over 2 clusters (donor or slide)"
    assert "14 cells name no donor" in data.note
    assert "The slide 'S2' has no donor" in data.note


def test_donors_that_read_the_same_are_one_cluster_and_one_group(labelled: Path) -> None:
    data = read_labelled_set(relabelled(labelled, {"slide": [""], "donor": ["D1", "d1", "D2"]}))
    assert units(data) == "bootstrap over 2 clusters (donor)"
    assert set(data.column("donor")) == {"D1 and d1", "D2"}
    assert "read the same: they are taken as one" in data.note


def test_cells_without_names_beside_named_ones_are_told(labelled: Path) -> None:
    data = read_labelled_set(relabelled(labelled, {"slide": [""], "donor": ["D1", "D2", ""]}))
    assert "8 of 24 cells have no donor or slide: each is a cluster of its own in intervals." in data.note


def test_slides_of_two_donors_with_one_name_are_groups_and_get_their_stains_apart(
    labelled: Path, model_directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnbatch.evaluation.cell_scoring import Scorer

    together: list[set[str]] = []
    real = Scorer._score_slide

    def watched(self, name, cells, places, result):
        together.append({cell.donor for cell in cells})
        return real(self, name, cells, places, result)

    monkeypatch.setattr(Scorer, "_score_slide", watched)
    table = relabelled(labelled, {"slide": ["1"] * 4 + ["2"] * 2, "donor": ["D0", "D0", "D1", "D1"]})
    model = str(model_directories["one"])
    found = evaluate(Request(model=model, data=table, device="cpu", threads=1, bootstrap=20, group_by="slide"))
    assert [group.name for group in found.groups] == ["D0/1", "D0/2", "D1/1", "D1/2"]
    assert sum(group.measured.cells for group in found.groups) == 24
    assert sorted(map(sorted, together)) == [["D0"], ["D0"], ["D1"], ["D1"]]
    assert b"D0/1" in metrics_csv(found)
    assert b"D0/1" in scores_csv(found)
