"""MODEL_DIR.training: a command removes what it wrote there, and nothing else, whoever made the folder."""

import errno
import json
from pathlib import Path

import pytest

from mnbatch.errors import StorageError, TrainingError
from mnbatch.files import storage_error
from mnbatch.training import adaptation, checkpoint
from mnbatch.training.kept_folder import folder_beside, full_disk_told

OURS = {
    "train": (
        checkpoint.KEPT,
        {"checkpoint.json": '{\n  "schema_version": 2,\n  "key": {', "state-1-0.safetensors": ""},
    ),
    "adapt": (adaptation.KEPT, {"adaptation.json": json.dumps({"of": "", "folds": {}})}),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(params=OURS)
def by(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_the_command_made_is_removed_with_its_folder(by: str, tmp_path: Path) -> None:
    kept, files = OURS[by]
    folder = write(folder_beside(tmp_path / "m"), files)
    assert folder.name == "m.training"
    kept.check(folder)
    kept.remove(folder)
    assert not folder.exists()
    kept.check(folder)
    kept.remove(folder)


def test_what_a_person_put_beside_it_stays(by: str, tmp_path: Path) -> None:
    kept, files = OURS[by]
    folder = write(tmp_path / "m.training", files | {"notes.txt": "mine", "weights.safetensors": "mine"})
    kept.check(folder)
    kept.remove(folder)
    assert names(folder) == ["notes.txt", "weights.safetensors"]


@pytest.mark.parametrize(
    "files", [{"notes.txt": ""}, {"history.csv": ""}, {"checkpoint.json": "{}"}, {"adaptation.json": "[]"}]
)
def test_a_folder_of_something_else_is_refused_and_left(by: str, tmp_path: Path, files: dict[str, str]) -> None:
    """Names alone prove nothing: others have a history.csv or a checkpoint.json, too."""
    kept, _ = OURS[by]
    folder = write(tmp_path / "m.training", files)
    with pytest.raises(StorageError, match=rf"keeps no training of `mnbatch {by}` \(it holds {next(iter(files))}\)"):
        kept.check(folder)
    kept.remove(folder)
    assert names(folder) == list(files)


def test_the_training_of_the_other_command_is_refused_and_left(tmp_path: Path) -> None:
    for by, other in (("train", "adapt"), ("adapt", "train")):
        folder = write(tmp_path / f"{by}.training", OURS[other][1])
        with pytest.raises(StorageError) as refused:
            OURS[by][0].check(folder)
        assert "choose another --out" in refused.value.next_step
        OURS[by][0].remove(folder)
        assert names(folder) == sorted(OURS[other][1])


def test_tensors_that_a_kill_left_without_a_record_can_be_given_up(tmp_path: Path) -> None:
    folder = write(tmp_path / "m.training", {"state-1-0.safetensors": "", "checkpoint.json": "cut"})
    checkpoint.KEPT.check(folder)
    checkpoint.KEPT.remove(folder)
    assert not folder.exists()


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", "x")


@pytest.mark.parametrize("error", [full(), storage_error(full(), "x"), RuntimeError("write (os error 28)")])
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_says_what_this_command_keeps(tmp_path: Path, error: Exception, there: bool) -> None:
    place = tmp_path / ("" if there else "none")
    with pytest.raises(StorageError, match="is full") as told, full_disk_told(place, "the folds are kept"):
        raise error
    end = "the folds are kept." if there else "nothing is kept yet, so it starts anew."
    assert told.value.next_step == f"Free some space and run the same command again; {end}"


@pytest.mark.parametrize("error", [TrainingError("a", "b"), PermissionError(errno.EACCES, "no", "x"), ValueError("v")])
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as told, full_disk_told(tmp_path, "all is kept"):
        raise error
    assert told.value is error
