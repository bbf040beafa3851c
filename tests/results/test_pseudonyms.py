import os

import pytest

from mnbatch.errors import StorageError
from mnbatch.results.paths import OutPaths
from mnbatch.results.pseudonyms import Pseudonyms


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
