import numpy as np

from mnbatch.assay.copies import CopyOf, find_copies


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
