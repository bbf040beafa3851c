import os
from dataclasses import replace

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, CellScore, Quality
from mnbatch.errors import StorageError
from mnbatch.results.paths import OutPaths
from mnbatch.results.pseudonyms import Pseudonyms
from mnbatch.results.score_rows import row_text, score_row


@pytest.fixture
def paths(tmp_path):
    paths = OutPaths(tmp_path)
    Pseudonyms(paths).save()
    return paths


def test_a_pipe_in_the_place_of_the_key_is_said_and_not_waited_for(paths):
    (paths.private / "key").unlink()
    os.mkfifo(paths.private / "key")
    with pytest.raises(StorageError, match="key cannot be read: it is a pipe"):
        Pseudonyms(paths)


def test_a_pipe_in_the_place_of_the_mapping_is_said_and_not_waited_for(paths):
    (paths.private / "names.json").unlink()
    os.mkfifo(paths.private / "names.json")
    with pytest.raises(StorageError, match=r"names\.json cannot be read: it is a pipe"):
        Pseudonyms(paths).save()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1}', "\xff"])
def test_a_damaged_mapping_is_kept_aside_and_a_new_one_begun(paths, text):
    (paths.private / "names.json").write_bytes(text.encode("latin-1"))
    Pseudonyms(paths).save()
    assert (paths.private / "names.damaged.json").read_bytes() == text.encode("latin-1")
    assert (paths.private / "names.json").read_text() == "{}\n"


def test_a_row_that_was_made_with_a_name_is_made_again_under_its_code(paths):
    pixels = np.zeros((2, 2, 3), np.uint8)
    quality = Quality(0.5, 0.4, 0.0, 2, 0.2)
    crop = CellCrop("slide-1", "slide-1:Doe.png", "Doe.png", None, pixels, "0" * 32, "fluorescence", quality)
    coded = Pseudonyms(paths).coded(replace(crop, row=row_text(crop, 0)))
    score = CellScore(coded, 0.5, np.zeros((3, 13, 13), np.float32))
    assert coded.row is None
    assert "Doe" in row_text(crop, 0)[0]
    assert score_row(score, row_text(coded, 0)).startswith(f"slide-1:{coded.source},{coded.source},")
    assert "Doe" not in score_row(score, row_text(coded, 0))
