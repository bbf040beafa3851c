"""What is held out together is said; one donor alone is held out by slide. Who is one: tests/evaluation."""

from pathlib import Path

from mnbatch.evaluation.labelled_cells import LabelledCell
from mnbatch.training.held_out_groups import people_or_slides, tell_people


def cells(*told: tuple[str, str]) -> list[LabelledCell]:
    return [LabelledCell(Path(f"{i}.png"), True, slide, donor) for i, (slide, donor) in enumerate(told)]


def test_alike_names_are_said_in_a_line_each() -> None:
    said: list[str] = []
    tell_people(cells(("s1", "D1"), ("s2", "d1"), ("s3", "D2")), said.append)
    (line,) = said
    assert line.startswith("warning: The donors 'D1' and 'd1' read the same: they are taken as one.")
    tell_people(cells(("s1", "D1"), ("s3", "D2")), said.append)
    assert len(said) == 1


def test_people_are_held_out_and_slides_where_there_is_one_person() -> None:
    people = people_or_slides(cells(("a", "D1"), ("b", "D2"), ("c", ""), ("a", "")))
    assert people.names == ("D1", "D2", "c", "D1")
    assert people.kind == "donor or slide"
    alone = people_or_slides(cells(("a", "D1"), ("b", "d1"), ("b", "")))
    assert alone.names == ("a", "b", "b")
    assert alone.kind == "slide"
    assert alone.notes[-1].startswith("All cells are of one donor (D1 and d1), so its slides are held out")
    plain = people_or_slides(cells(("a", ""), ("b", "")))
    assert (plain.names, plain.notes) == (("a", "b"), ())
