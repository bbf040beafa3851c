"""One person is held out as one, however the donor's code was typed; the labels stay as they were written."""

from pathlib import Path

from mnbatch.evaluation.labelled_cells import LabelledCell
from mnbatch.training.held_out_groups import alike_lines, held_out_names, held_out_together

NAMES = ["D1", "d1", "D1 ", "D\u0661", "D2", ""]


def test_names_that_read_the_same_are_held_out_as_one() -> None:
    found = held_out_names(NAMES)
    assert found["D1"] == found["d1"] == found["D1 "] == "D1 and D1  and d1"
    assert {name: found[name] for name in ("D2", "")} == {"D2": "D2", "": ""}
    assert held_out_names(reversed(NAMES)) == found, "their order is that of the letters, not of the table"


def test_they_are_named_in_a_line_and_others_are_not() -> None:
    (line,) = alike_lines(NAMES, "donors")
    assert line.startswith(
        "warning: the donors 'D1' and 'D1 ' and 'd1' read the same: they are one in what is held out"
    )
    assert alike_lines(["D1", "D2", ""], "donors") == []


def test_cells_of_alike_donors_or_slides_are_one_group_and_their_slides_keep_their_names() -> None:
    told = [("s1", "D1"), ("s2", "d1"), ("s3", "D2"), ("x", ""), ("X", ""), ("", "")]
    cells = [LabelledCell(Path(f"{i}.png"), True, slide, donor) for i, (slide, donor) in enumerate(told)]
    said: list[str] = []
    found = held_out_together(cells, said.append)
    assert [cell.group for cell in found] == ["D1 and d1", "D1 and d1", "D2", "X and x", "X and x", ""]
    assert [cell.slide for cell in found] == [slide for slide, _ in told]
    assert found[2] is cells[2]
    assert len(said) == 2
