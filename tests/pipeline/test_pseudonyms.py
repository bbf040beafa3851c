"""No name of an export leaves a pseudonymised OUT: after every command, whatever went wrong."""

import errno
import json
import os
import shutil
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mnbatch.errors import MismatchError, StorageError
from mnbatch.pipeline.run import run
from mnbatch.results.paths import is_private
from mnbatch.results.store import Store
from tests.in_process import mnbatch
from tests.leaks import leaks, leaks_in
from tests.local_pool import LocalPool
from tests.stopping import run_with_signal

ROOT, EXPORT = "Zyxwvut-Klinik", "Kzmport Präparate"
DONORS, SLIDES, FILE = ("Quuxberg, Änne", "Wolkenstein Jörg"), ("Vrtacnik <1>", "Vrtacnik & 2"), "Ypsilanti"
PARTS = ("zyxwvut", "kzmport", "quuxberg", "wolkenstein", "vrtacnik", "ypsilanti")
"""What is left of each name where one is shortened for a file's name."""

NAMES = [ROOT, EXPORT, *DONORS, *SLIDES, FILE, *PARTS]


class Laboratory:
    """A pseudonymised OUT and the export that it comes from; every command is looked at."""

    def __init__(self, root: Path, model: Path, write_slide) -> None:
        self.export, self.out, self.root = root / ROOT / EXPORT, root / "out", root
        self.write_slide = write_slide
        self.typed = ["--out", self.out, "--model", model, "--layout", "donor-slide-folders", "--device", "cpu"]
        self.typed += ["--pseudonymise", "--min-cells", "1"]

    def slide(self, donor: int, slide: int, seed: int, cells: int = 4) -> Path:
        """Add a slide whose files have names of people too."""
        folder = self.export / DONORS[donor] / SLIDES[slide]
        self.write_slide(folder, seed=seed, cells=cells)
        for path in list(folder.iterdir()):
            path.rename(path.with_name(f"{FILE}_{path.name}"))
        return folder

    def run(self, *more: object, code: int = 0):
        """`mnbatch run` over the export; nothing of it may hold a name."""
        return self.does("run", self.export, *self.typed, *more, code=code)

    def does(self, *arguments: object, code: int | None = 0):
        """A command: its exit code (None for any), its output and everything in OUT that may be shared."""
        done = mnbatch(*arguments)
        assert code is None or done.returncode == code, done.stderr
        self.is_tight(done)
        return done

    def is_tight(self, done) -> None:
        """Neither what was printed nor OUT holds a name."""
        assert leaks_in((done.stdout + done.stderr).encode(), NAMES) == [], done.stdout + done.stderr
        assert leaks(self.out, NAMES) == []

    def logged(self) -> str:
        """What the logs of all runs say; private."""
        texts = [path.read_text(errors="replace") for path in sorted((self.out / "runs").iterdir())]
        return "\n".join(texts).encode().decode("unicode_escape").encode("latin-1", "ignore").decode("latin-1")


@pytest.fixture
def laboratory(tmp_path, models, new_slide):
    return Laboratory(tmp_path, models["one"], new_slide)


def test_the_finder_finds_every_spelling():
    name = "Präparat-7"
    spelled = [name.encode(), name.encode("utf-16-le"), json.dumps(name).encode(), b"Pr%C3%A4parat-7"]
    spelled += [b"Pr&#228;parat-7", b"Pr\\xe4parat-7", name.upper().encode().replace("Ä".encode(), "ä".encode())]
    assert all(leaks_in(b"xx" + data + b"yy", [name]) for data in spelled)
    assert not leaks_in(b"another name", [name])


def faulty_gallery(laboratory: Laboratory) -> None:
    first = laboratory.slide(0, 0, seed=1, cells=12)
    (first / f"{FILE}_empty.png").write_bytes(b"")
    laboratory.slide(0, 1, seed=2, cells=12)
    (laboratory.export / DONORS[0] / SLIDES[1] / f"{FILE}_cell_000.png").write_bytes(b"%PDF-1.7")
    copied = laboratory.export / DONORS[1] / SLIDES[0]
    shutil.copytree(first, copied)
    several = laboratory.slide(1, 1, seed=3, cells=12)
    crops = [np.asarray(Image.open(path).convert("L")) for path in sorted(several.iterdir())]
    tifffile.imwrite(several / f"{FILE}_pages.tif", np.stack(crops), photometric="minisblack")
    data = (several / f"{FILE}_pages.tif").read_bytes()
    (several / f"{FILE}_pages.tif").write_bytes(data[: len(data) * 2 // 3])


def test_every_command_on_a_faulty_gallery(laboratory, tmp_path):
    faulty_gallery(laboratory)
    lab, out = laboratory, laboratory.out
    sheet = tmp_path / "sheet.csv"
    lines = [
        f'"{DONORS[donor]}/{SLIDES[slide]}",D{donor},{SLIDES[slide]},"of {DONORS[donor]}"'
        for donor in (0, 1)
        for slide in (0, 1)
    ]
    sheet.write_text("slide,donor,culture,note\n" + "\n".join(lines) + "\n")
    done = lab.run("--samples", sheet, "--verbose", code=3)
    assert "failed: slide-" in done.stdout
    reasons = (out / "slides.csv").read_text()
    assert "identical to those of slide slide-" in reasons
    lab.run(code=3)
    lab.does("report", out, "--force", "--contact-sheet", "--geojson", "--label-masks", code=3)
    lab.does("status", out, code=3)
    lab.does("status", out, "--json", code=3)
    lab.does("history", out, "--out", tmp_path / "chart.html", code=3)
    assert leaks_in((tmp_path / "chart.html").read_bytes(), NAMES) == []
    lab.does("review", "plan", out, "--sample", "0.5")
    review = review_of(out, tmp_path)
    lab.does("review", "import", out, review, code=None)
    lab.does("review", "status", out, code=None)
    lab.does("review", "export", out, tmp_path / "labels", code=None)
    assert (tmp_path / "labels/labels.csv").exists()
    assert leaks(tmp_path / "labels", NAMES) == []
    lab.does("review", "sign", out, "--donor", "D0", "--name", "Ada", "--unfinished", "a test", code=None)
    assert "Ada" in (out / "annotations/signatures.jsonl").read_text()
    lab.does("curve", "fit", out, code=None)
    lab.does("dose", out, "--curve", sheet, code=None)
    lab.does("verify", out, code=None)
    assert (out / "private/names.json").exists()
    assert any(DONORS[0] in name for name in json.loads((out / "private/names.json").read_text()).values())


def review_of(out: Path, folder: Path) -> Path:
    from mnbatch.review.decisions import COLUMNS
    from mnbatch.review.review_import import queues_of

    store = Store(out)
    ids = {record.slide_id: None for record in store.records() if record.status == "scored"}
    rows = [",".join(COLUMNS)]
    for slide_id, queue in queues_of(store, ids).items():
        for place in queue.places if queue is not None else ():
            known = {
                "slide_id": slide_id,
                "cell_id": place.cell_id,
                "decision": "mn",
                "reviewer": "Ada",
                "time": "2026-01-01T10:00:00Z",
                "model_digest": queue.model_digest,
                "result_key": queue.result_key,
                "stratum": place.stratum,
                "inclusion_probability": "" if place.inclusion_probability is None else place.inclusion_probability,
                "p_mn": "",
                "threshold": "",
            }
            rows.append(",".join(str(known.get(column, "")) for column in COLUMNS))
    path = folder / "review.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_unexpected_errors_name_their_class_alone_and_the_log_has_the_rest(laboratory, monkeypatch):
    from mnbatch.imaging.formats import loading
    from mnbatch.pipeline import sources

    laboratory.slide(0, 0, seed=1)
    laboratory.slide(1, 1, seed=2)
    known_read, known_cells, known_together = loading.read_whole, sources.read_cells, sources.read_together

    def cells(task, *more):
        if SLIDES[0] in task.file.path:
            raise KeyError(f"{task.root}/{task.file.path}")
        return known_cells(task, *more)

    def together(tasks, *more):
        if SLIDES[0] in tasks[0].file.path:
            raise KeyError(f"{tasks[0].root}/{tasks[0].file.path}")
        return known_together(tasks, *more)

    def read(path):
        if "cell_001" in path:
            raise OSError(errno.EIO, f"I/O error at {path}", path)
        return known_read(path)

    monkeypatch.setattr("mnbatch.pipeline.run.WorkerPool", LocalPool)
    monkeypatch.setattr(sources, "read_cells", cells)
    monkeypatch.setattr(sources, "read_together", together)
    monkeypatch.setattr(loading, "read_whole", read)
    done = laboratory.run("--max-bad-fraction", "0.5", code=3)
    assert "Reading cell-" in done.stderr
    assert "KeyError: see the log" in done.stderr
    assert "file could not be read: EIO" in "".join(p.read_text() for p in laboratory.out.glob("slides/*/cells.csv"))
    assert FILE in laboratory.logged()
    assert "I/O error at" in laboratory.logged()


def test_what_ends_a_run_is_said_without_names(laboratory, tmp_path, monkeypatch):
    laboratory.slide(0, 0, seed=1)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"slide,donor\n{SLIDES[1]},D1\n")
    done = laboratory.run("--samples", sheet, code=2)
    assert "line 2" in done.stderr
    done = laboratory.does("run", laboratory.export / "missing", *laboratory.typed, code=4)
    assert "EXPORT" in done.stderr
    done = laboratory.does("run", laboratory.export.parent, *laboratory.typed, code=5)
    assert "export-" in done.stderr
    monkeypatch.setattr("mnbatch.pipeline.run.plan_slides", broken)
    done = laboratory.run(code=1)
    assert "internal error: ZeroDivisionError" in done.stderr
    assert FILE in laboratory.logged()


def test_pages_do_not_say_where_out_lies(laboratory):
    laboratory.slide(0, 0, seed=1)
    laboratory.slide(1, 1, seed=2)
    laboratory.run()
    next(laboratory.out.glob("slides/*/g1/scores.csv")).write_bytes(b"cell_id\n")
    laboratory.does("report", laboratory.out, code=3)
    assert "scores.csv" in (laboratory.out / "slides.csv").read_text()
    assert leaks(laboratory.out, [str(laboratory.root)]) == []


def broken(slides, *more):
    raise ZeroDivisionError(f"at {next(iter(slides)).root} {FILE}")


def test_a_full_disk_is_said_without_names(laboratory, monkeypatch):
    laboratory.slide(0, 0, seed=1)

    def full(*more):
        raise OSError(errno.ENOSPC, f"No space left for {laboratory.export}")

    monkeypatch.setattr("mnbatch.results.writer.write_record", full)
    done = mnbatch("run", laboratory.export, *laboratory.typed)
    assert done.returncode == 10, done.stderr
    laboratory.is_tight(done)


@pytest.mark.parametrize(("path", "number"), [(r"manifest\.json$", 2), (r"record\.json$", 1)])
def test_a_kill_leaves_no_name(laboratory, path, number):
    laboratory.slide(0, 0, seed=1)
    laboratory.slide(1, 1, seed=2)
    arguments = ["run", laboratory.export, *laboratory.typed]
    done = run_with_signal(arguments, event="os.rename", path=path, number=number, signum=signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL
    left = list(laboratory.out.rglob(".tmp-*"))
    assert left
    laboratory.is_tight(done)
    laboratory.run()


def test_fields_with_a_bad_mask_and_all_that_is_made_of_fields(laboratory, paint_field):
    folder = laboratory.export / DONORS[0] / SLIDES[0]
    folder.mkdir(parents=True)
    for i in range(3):
        tifffile.imwrite(folder / f"{FILE}{i}.tif", paint_field(i))
    (folder / f"{FILE}2_mask.tif").write_bytes(b"II*\0 no label image")
    laboratory.run("--geojson", "--label-masks")
    said = "".join(path.read_text() for path in laboratory.out.glob("slides/*/record.json"))
    assert "its label image mask-" in said
    assert list(laboratory.out.glob("slides/*/masks/*.tif"))
    laboratory.does("report", laboratory.out, "--force", "--geojson", "--label-masks", "--contact-sheet")


def test_a_whole_slide_without_its_folder(laboratory):
    folder = laboratory.export / DONORS[0]
    folder.mkdir(parents=True)
    (folder / f"{FILE}.mrxs").write_bytes(b"\xff\xd8\xff\xe0 a picture of the slide")
    done = laboratory.run(code=3)
    assert "there is no folder folder-" in done.stderr
    assert "input wsi: a file is a whole-slide file" in done.stderr


def test_a_pattern_and_the_path_of_an_earlier_version_become_codes(laboratory):
    laboratory.slide(0, 0, seed=1)
    pattern = f"{{donor}}/{SLIDES[0][:-2]}{{slide}}/{FILE}_{{cell}}.png"
    laboratory.run("--layout", pattern)
    path = laboratory.out / "batch.json"
    written = json.loads(path.read_text())
    assert written["layout"].startswith("layout-")
    path.write_text(json.dumps(written | {"export": str(laboratory.export.resolve()), "layout": pattern}))
    laboratory.run("--layout", pattern)
    assert json.loads(path.read_text()) == written


def test_key_mapping_and_logs_are_for_their_owner_alone(laboratory):
    laboratory.slide(0, 0, seed=1)
    before = os.umask(0)
    try:
        laboratory.run()
    finally:
        os.umask(before)
    out = laboratory.out
    modes = {name: stat.S_IMODE((out / name).stat().st_mode) for name in ("private", "runs", "manifest.json")}
    assert modes == {"private": 0o700, "runs": 0o700, "manifest.json": 0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out / "private").iterdir()} == {0o600}


def test_another_key_is_never_made_for_results_that_have_one(settings, export, tmp_path):
    run(settings(pseudonymise=True))
    before = sorted(os.listdir(tmp_path / "out/slides"))
    (tmp_path / "out/private/key").unlink()
    with pytest.raises(StorageError, match="key is missing"):
        run(settings(pseudonymise=True))
    assert sorted(os.listdir(tmp_path / "out/slides")) == before


def test_a_damaged_key_is_refused_and_a_damaged_mapping_is_kept_aside(settings, export, tmp_path):
    run(settings(pseudonymise=True))
    private = tmp_path / "out/private"
    (private / "names.json").write_text("[1")
    assert run(settings(pseudonymise=True)).exit_code == 0
    assert (private / "names.damaged.json").read_text() == "[1"
    (private / "key").write_text("zz")
    with pytest.raises(StorageError, match="key is damaged"):
        run(settings(pseudonymise=True))


def test_an_out_without_pseudonyms_gets_no_key(settings, tmp_path):
    run(settings())
    with pytest.raises(MismatchError, match="without --pseudonymise"):
        run(settings(pseudonymise=True))
    assert not (tmp_path / "out/private").exists()


@pytest.mark.parametrize(
    "path", ["private/key", "PRIVATE/names.json", "private./key", "Manifest.JSON", "runs\\a", ".."]
)
def test_what_is_private_is_so_in_any_spelling(path):
    assert is_private(path)
    assert not is_private("slides/a/index.html")
