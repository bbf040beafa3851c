import numpy as np

from mnbatch.assay.copies import CopyOf, Shared, find_copies, find_shared


def digests(*values: int) -> np.ndarray:
    return np.array([[value] * 16 for value in values], np.uint8).reshape(-1, 16)


def test_the_first_in_slide_order_is_the_original():
    copies = find_copies([("a", digests(1, 2)), ("b", digests(2, 3, 3)), ("c", digests(2))])
    assert copies == {"b": {0: CopyOf("a", 1), 2: CopyOf("b", 1)}, "c": {0: CopyOf("a", 1)}}


def test_unreadable_cells_are_no_copies_of_each_other():
    assert find_copies([("a", digests(0, 0)), ("b", digests(0))]) == {}


def test_no_slide_and_no_cell_give_no_copy():
    assert find_copies([]) == {}
    assert find_copies([("a", digests())]) == {}


def test_a_cell_under_two_donors_is_said_on_both_sides():
    slides = [("a", digests(1, 2, *range(10, 40))), ("b", digests(2, 3, *range(50, 80))), ("c", digests(3, 99))]
    found = find_shared(slides, {"a": "A", "b": "B", "c": "B"})
    assert found == {"a": {1: Shared("b", 0)}, "b": {0: Shared("a", 1)}}
    assert find_shared(slides, {"a": "A"}) == {}


def test_many_cells_under_two_donors_fail_both_slides():
    slides = [("a", digests(*range(1, 11))), ("b", digests(*range(5, 15))), ("c", digests(1, *range(20, 60)))]
    found = find_shared(slides, {"a": "A", "b": "B", "c": "C"})
    assert {cell.fails for cell in found["b"].values()} == {6}
    assert [cell.fails for cell in found["a"].values()] == [0, *[6] * 6]
    assert found["c"] == {0: Shared("a", 0)}


def test_near_copies_are_one_picture_along_chains():
    slides = [("a", digests(1, 2)), ("b", digests(3, 4)), ("c", digests(5, 5))]
    near = [(("a", 1), ("b", 0)), (("b", 0), ("c", 0)), (("gone", 0), ("a", 0))]
    assert find_copies(slides, near) == {
        "b": {0: CopyOf("a", 1, near=True)},
        "c": {0: CopyOf("a", 1, near=True), 1: CopyOf("a", 1, near=True)},
    }
    assert find_shared(slides, {"a": "A", "b": "B"}, near) == {
        "a": {1: Shared("b", 0, near=True)},
        "b": {0: Shared("a", 1, near=True)},
    }


def test_many_near_copies_under_two_donors_fail_both_slides():
    slides = [("a", digests(*range(1, 11))), ("b", digests(*range(21, 31)))]
    near = [(("a", row), ("b", row)) for row in range(3)]
    found = find_shared(slides, {"a": "A", "b": "B"}, near)
    assert [cell.fails for rows in found.values() for cell in rows.values()] == [3] * 6
