"""Images that a name hides, packed or under another extension: their slide fails, and ordinary litter stays silent."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest

from mnbatch.assay.cells import Skipped, Slide
from mnbatch.imaging import first_bytes, packed_images, walk
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.first_bytes import content_of
from mnbatch.imaging.packed_images import what_is_packed
from mnbatch.imaging.walk import HIDDEN_IMAGES, TOO_LARGE, UNREAD
from tests.imaging.imaging_helpers import draw_cell, encoded, put, tiff

CELL = tiff(draw_cell(size=24))
DONORS = "donor-slide-folders"
RAW = bytes(range(256)) * 8
"""Bytes that are neither an image nor text."""


def slides_of(export: Path, **options: object) -> tuple[dict[str, Slide], dict[str, str]]:
    said: list[Skipped] = []
    slides = {slide.path: slide for slide in find_slides(export, explain=said.append, **options)}  # type: ignore[arg-type]
    return slides, {skipped.path: skipped.reason for skipped in said}


def put_cells(export: Path, folder: str, numbers: range = range(1, 6)) -> None:
    for number in numbers:
        put(export, f"{folder}/cell_{number:04}.tif", tiff(draw_cell(size=24, seed=number)))


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def refusal_of(export: Path, **options: object) -> tuple[str, str]:
    refused = slides_of(export, **options)[0]["D1/S1"].refused
    assert refused is not None
    return refused


# Packed.

PACKED_CELLS = {
    "cell_0006.tif.gz": gzip.compress(CELL),
    "cell_0006.tif.zst": b"\x28\xb5\x2f\xfd",
    "cell_0006.gz": gzip.compress(CELL),
    "cell_0006.bz2": bz2.compress(CELL),
    "cell_0006.xz": lzma.compress(CELL),
    "torn.gz": gzip.compress(CELL)[:5],
    "more.zip": zipped({"cell_0006.tif": CELL}),
    "odd.zip": zipped({"cell_0006.tif8": CELL, "readme": b"text"}),
    "dense.zip": zipped({"cell_0006.dat": CELL}, zipfile.ZIP_LZMA),
    "nested.zip": zipped({"S1.7z": b"7z"}),
    "more.tar": tarred({"cell_0006.tif": CELL}),
    "more.tar.gz": tarred({"S1/cell_0006.tif": CELL}, "w:gz"),
    "more.tgz": tarred({"S1/cell_0006.tif": CELL}, "w:gz"),
    "renamed.gz": tarred({"S1/cell_0006.tif": CELL}, "w:gz"),
    "more.tar.bz2": tarred({"cell_0006.bin": CELL}, "w:bz2"),
    "more.tar.xz": tarred({"cell_0006.tif": CELL}, "w:xz"),
    "more.7z": b"7z\xbc\xaf\x27\x1c",
    "more.rar": b"Rar!",
    "broken.zip": b"PK\3\4",
    "more.zipx": b"PK\3\4",
    "more.tbz2": tarred({"cell_0006.tif": CELL}, "w:bz2"),
    "more.tbz": tarred({"cell_0006.tif": CELL}, "w:bz2"),
    "more.txz": tarred({"cell_0006.tif": CELL}, "w:xz"),
    "torn.tgz": bytes(2000),
    "torn.tar": tarred({"notes.txt": b"text"}) + bytes(2 << 20),
    "more.zip.001": b"PK\3\4",
    "more.zip.002": RAW,
    "more.7z.001": b"7z\xbc\xaf\x27\x1c",
    "more.z01": b"PK\7\x08PK\3\4",
    "more.r00": b"Rar!\x1a\7\0",
    "cell_0006.tif.lz4": b"\x04\x22\x4d\x18",
    "cell_0006.tif.Z": b"\x1f\x9d",
    "S1-2": zipped({"cell_0006.tif": CELL}),
    "S1.backup": zipped({"cell_0006.tif": CELL}),
    "rest.dat": tarred({"cell_0006.tif": CELL}),
    "seven": b"7z\xbc\xaf\x27\x1c\0",
    "rar.img": b"Rar!\x1a\7\0",
    "one": gzip.compress(CELL),
    "many.bin": tarred({"cell_0006.tif": CELL}, "w:bz2"),
    "xz": lzma.compress(CELL),
    "zstd.dat": b"\x28\xb5\x2f\xfd\0",
    "lz4.dat": b"\x04\x22\x4d\x18\0",
}


@pytest.mark.parametrize("name", PACKED_CELLS)
def test_packed_cells_beside_others_fail_their_slide(export: Path, name: str) -> None:
    put_cells(export, "D1/S1")
    put(export, f"D1/S1/{name}", PACKED_CELLS[name])
    why, step = refusal_of(export, layout=DONORS)
    assert "5 images read as crops, and beside them" in why
    assert name in why
    assert "packed" in why
    assert "Unpack" in step


def test_a_packed_cell_fails_its_slide_in_a_pattern_of_names(export: Path) -> None:
    for number in range(3):
        put(export, f"D1/S1/cell-{number}.png", seed=number)
    put(export, "D1/S1/cell-4.png.gz", gzip.compress(encoded(draw_cell(size=24))))
    put(export, "D1/S1/rest.zip", zipped({"cell-5.png": b"png"}))
    slides, _ = slides_of(export, layout="{donor}/{slide}/cell-{cell}.png")
    assert list(slides) == ["D1/S1"]
    assert "2 files" in (slides["D1/S1"].refused or ("", ""))[0]


def test_a_folder_of_nothing_but_packed_cells_is_a_failed_slide(export: Path) -> None:
    for number in range(3):
        put(export, f"D1/S1/cell_{number}.gz", gzip.compress(CELL))
    assert "archive" in refusal_of(export, layout=DONORS)[0]


def copies_of(cells: dict[str, bytes]) -> dict[str, bytes]:
    return {
        "all.zip": zipped(cells),
        "folder.zip": zipped({f"S1/{name}": content for name, content in cells.items()}),
        "donor.tar": tarred({f"./D1/S1/{name}": content for name, content in cells.items()}),
        "all.tar.gz": tarred({**cells, "notes.txt": b"text"}, "w:gz"),
        "cell_0001.tif.gz": gzip.compress(b"whatever"),
        "cell_0001.gz": gzip.compress(b"whatever"),
    }


def test_an_archive_of_what_lies_unpacked_beside_it_is_left_out_and_said(export: Path) -> None:
    put_cells(export, "D1/S1")
    there = {path.name: path.read_bytes() for path in (export / "D1/S1").iterdir()}
    archives = copies_of(there)
    for name, content in archives.items():
        put(export, f"D1/S1/{name}", content)
    put(export, "D1/S1.zip", zipped(there))
    slides, said = slides_of(export, layout=DONORS)
    assert list(slides) == ["D1/S1"]
    assert (slides["D1/S1"].refused, len(slides["D1/S1"].files)) == (None, 5)
    assert "which is not unpacked" in said["D1/S1/all.zip"]
    assert set(said) == {"D1/S1.zip", *(f"D1/S1/{name}" for name in archives)}


def test_cells_of_another_slide_with_the_same_names_and_sizes_are_no_copies(export: Path) -> None:
    put_cells(export, "D1/S1")
    other = {f"cell_{number:04}.tif": tiff(draw_cell(size=24, seed=50 + number)) for number in range(1, 6)}
    assert {len(content) for content in other.values()} == {(export / "D1/S1/cell_0001.tif").stat().st_size}
    put(export, "D1/S1/S2.zip", zipped(other))
    assert "S2.zip" in refusal_of(export, layout=DONORS)[0]


DOCUMENTS = {
    "report.zip": zipped({"report.pdf": b"%PDF", "tables/counts.csv": b"a;b", "README": b"text", "log.x1": b"text"}),
    "logs.tar.gz": tarred({"a.log": b"text", "calibration.dat": RAW}, "w:gz"),
    "run.log.gz": gzip.compress(b"text"),
    "messages.gz": gzip.compress(b"text"),
    "mac.zip": zipped({"__MACOSX/._a.tif": b"x", "notes.txt": b"text"}),
    "empty.zip": zipped({}),
    "counts.txt.Z": b"\x1f\x9d",
    "depth.z": RAW,
    "state.dat": gzip.compress(RAW),
    "settings": zipped({"a.xml": b"text"}),
    "table.xlsx": zipped({"media/a.png": CELL}),
    "slides.pptx": zipped({"media/a.png": CELL}),
    "letter.odt": zipped({"media/a.png": CELL}),
    "tool.jar": zipped({"icon.png": CELL}),
    "arrays.npz": zipped({"a.npy": RAW}),
    "book.epub": zipped({"cover.jpg": CELL}),
    "reader.apk": zipped({"icon.png": CELL}),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_archive_without_images_stays_silent(export: Path, name: str) -> None:
    put_cells(export, "D1/S1")
    for folder in ("D1/S1", "D1"):
        put(export, f"{folder}/{name}", DOCUMENTS[name])
    slides, said = slides_of(export, layout=DONORS)
    assert (list(slides), slides["D1/S1"].refused) == (["D1/S1"], None)
    assert set(said) == {f"D1/S1/{name}", f"D1/{name}"}
    assert UNREAD not in said.values()


def test_an_archive_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{number}.txt": bytes(2000) for number in range(200)}
    for name, content in (("a.zip", zipped(files)), ("a.tar", tarred(files)), ("a.tgz", tarred(files, "w:gz"))):
        path = put(tmp_path, name, content)
        assert what_is_packed(str(path), set()) == "nothing"
    monkeypatch.setattr(packed_images, "_MOST_LISTED", 4000)
    monkeypatch.setattr(packed_images, "_MOST_READ", {"": 4000, "gz": 4000})
    found = [what_is_packed(str(tmp_path / name), set()) for name in ("a.zip", "a.tar", "a.tgz")]
    assert found == ["images", "too large", "too large"]
    monkeypatch.undo()
    monkeypatch.setattr(packed_images, "_MOST_MEMBERS", 5)
    assert what_is_packed(str(tmp_path / "a.tar"), set()) == "too large"


def test_a_large_log_in_a_tar_is_looked_through(export: Path) -> None:
    put_cells(export, "D1/S1")
    put(export, "D1/S1/logs.tar.gz", tarred({"a.log": bytes(36 << 20)}, "w:gz"))
    slides, said = slides_of(export, layout=DONORS)
    assert slides["D1/S1"].refused is None
    assert said == {"D1/S1/logs.tar.gz": "an archive without images, which is not unpacked"}


def test_of_a_tar_that_is_too_large_what_was_seen_decides(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_cells(export, "D1/S1")
    there = {path.name: path.read_bytes() for path in (export / "D1/S1").iterdir()}
    log = {"a.log": bytes(200_000)}
    put(export, "D1/S1/logs.tar.gz", tarred({**log, "cell_0009.tif": CELL}, "w:gz"))
    put(export, "D1/S1/all.tgz", tarred({**there, **log, "b.log": b""}, "w:gz"))
    monkeypatch.setattr(packed_images, "_MOST_READ", {"gz": 100_000})
    slides, said = slides_of(export, layout=DONORS)
    assert slides["D1/S1"].refused is None
    assert said["D1/S1/logs.tar.gz"] == TOO_LARGE
    assert "lies beside it" in said["D1/S1/all.tgz"]
    put(export, "D1/S1/more.tgz", tarred({"cell_0007.tif": CELL, **log, "b.log": b""}, "w:gz"))
    assert "more.tgz" in refusal_of(export, layout=DONORS)[0]


def test_a_header_that_states_an_absurd_size_is_not_followed(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.XHDTYPE, 300 << 20
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf())
    with path.open("r+b") as stream:
        stream.truncate(301 << 20)
    assert what_is_packed(str(path), set()) == "images"


def test_a_path_out_of_the_folder_is_no_copy(export: Path) -> None:
    put_cells(export, "D1/S1")
    put(export, "D1/cell.tif", CELL)
    path = put(export, "D1/S1/a.tar", tarred({"../cell.tif": CELL}))
    assert what_is_packed(str(path), set()) == "images"


# Misnamed.

IMAGES = {
    "tif8": CELL,
    "img": b"MM\0+\0\x08\0\0",
    "raw": encoded(draw_cell(size=24), "png"),
    "dat": encoded(draw_cell(size=24), "jpeg"),
    "eps": encoded(draw_cell(size=24), "bmp"),
    "bin": encoded(draw_cell(size=24), "gif"),
    "pic": encoded(draw_cell(size=24), "webp"),
    "x": b"\0\0\0\x0cjP  \r\n\x87\n",
    "cell": b"\0\0\0\x20ftypavif",
    "dc3": bytes(128) + b"DICM",
}


@pytest.mark.parametrize("extension", IMAGES)
def test_a_folder_of_images_with_an_unknown_extension_is_a_failed_slide(export: Path, extension: str) -> None:
    put_cells(export, "D1/S2")
    for number in range(8):
        put(export, f"D1/S1/c{number}.{extension}", IMAGES[extension])
    why, step = refusal_of(export, layout=DONORS)
    assert f"8 files (c0.{extension}, c1.{extension}" in why
    assert "images by their content" in why
    assert "extension" in step
    (alone,) = (slide for path, slide in slides_of(export)[0].items() if path.endswith("S1"))
    assert alone.refused


@pytest.mark.parametrize("name", ["cell_0006.dat", "cell_0006.tif.old", "cell_0006.tif.bak", "cell_0006.TIF8"])
def test_a_misnamed_cell_beside_others_fails_their_slide(export: Path, name: str) -> None:
    put_cells(export, "D1/S1")
    put(export, f"D1/S1/{name}", CELL)
    why, step = refusal_of(export, layout=DONORS)
    assert "5 images read as crops" in why
    assert name in why
    assert "extension of its format" in step
    assert "--input crops" in step


def test_one_image_in_a_small_series_is_found_and_a_long_series_is_looked_at_in_a_few_places(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cells(export, "D1/S1")
    for number in range(4):
        put(export, f"D1/S1/x{number}.dat", CELL if number == 2 else RAW)
    assert "x2.dat" in refusal_of(export, layout=DONORS)[0]
    put(export, "D1/S1/x2.dat", RAW)
    for number in range(100, 300):
        put(export, f"D1/S1/x{number}.dat", RAW)
        put(export, f"D1/S1/m{number}.xml", b"II*\0")
    read: list[str] = []
    look = first_bytes._read

    def noted(path: str) -> first_bytes.Content:
        read.append(path)
        return look(path)

    monkeypatch.setattr(first_bytes, "_read", noted)
    assert slides_of(export, layout=DONORS)[0]["D1/S1"].refused is None
    assert len(read) == 5


def test_one_archive_in_a_long_series_makes_no_archives_of_the_others(export: Path) -> None:
    put_cells(export, "D1/S1")
    for number in range(20):
        put(export, f"D1/S1/x{number:02}.dat", RAW)
    put(export, "D1/S1/x00.dat", zipped({"notes.txt": b"text"}))
    assert slides_of(export, layout=DONORS)[0]["D1/S1"].refused is None
    put(export, "D1/S1/x00.dat", zipped({"cell_0006.tif": CELL}))
    why, step = refusal_of(export, layout=DONORS)
    assert "D1/S1/x00.dat: packed" in why
    assert "Unpack" in step


def test_copies_and_companions_by_their_names_are_not_opened(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_cells(export, "D1/S1")
    names = (
        *("cell_0001.tif.old", "cell_0001.tif.bak", "CELL_0002.dat", "cell_0003.tif.x1", "cell_0004.orig"),
        *("cell_0005_mask.dat", "cell_0001 - Copy.dat", "S1_overview.img", "S1.thumb"),
    )
    for name in names:
        put(export, f"D1/S1/{name}", CELL)
    monkeypatch.setattr(first_bytes, "_read", lambda path: pytest.fail(path))
    slides, said = slides_of(export, layout=DONORS)
    assert slides["D1/S1"].refused is None
    assert set(said) == {f"D1/S1/{name}" for name in names}


def test_packed_and_misnamed_cells_of_one_slide_have_a_step_for_both(export: Path) -> None:
    for name, content in (("cell_0006.tif.gz", b"gz"), ("cell_0007.dat", CELL)):
        put(export, f"D1/S1/{name}", content)
    why, step = refusal_of(export, layout=DONORS)
    assert "2 files (cell_0006.tif.gz, cell_0007.dat): images that are packed, or have another extension" in why
    assert step.startswith("Unpack them, and give them the extension of their format")
    put_cells(export, "D1/S1")
    why, step = refusal_of(export, layout=DONORS)
    assert "5 images read as crops" in why
    assert "packed, or have another extension" in why
    assert step.startswith("Unpack and rename")


def test_pictures_beside_whole_slides_stay_silent_and_scans_fail(export: Path) -> None:
    put(export, "D1/S1.svs", CELL)
    put(export, "D1/label.lbl", encoded(draw_cell(size=24), "jpeg"))
    assert slides_of(export, layout=DONORS, kind="wsi")[0]["D1/S1.svs"].refused is None
    put(export, "D1/S2.tif8", CELL)
    slides, _ = slides_of(export, layout=DONORS, kind="wsi")
    assert [slide.name for slide in slides.values() if slide.refused] == ["S2"]


def test_where_input_is_given_they_are_left_out_and_said(export: Path) -> None:
    put_cells(export, "D1/S1")
    hidden = ("cell_0006.tif.gz", "cell_0007.dat", "cell_0008.gz")
    for name, content in zip(hidden, (b"gz", CELL, gzip.compress(CELL)), strict=True):
        put(export, f"D1/S1/{name}", content)
    put(export, "D1/S1/a.oir", b"vendor")
    slides, said = slides_of(export, layout=DONORS, stated=True)
    assert (slides["D1/S1"].refused, len(slides["D1/S1"].files)) == (None, 5)
    assert {path for path, why in said.items() if why == HIDDEN_IMAGES} == {f"D1/S1/{name}" for name in hidden}
    assert "D1/S1/a.oir" in said


@pytest.mark.parametrize(
    ("first", "content"),
    [
        (b"BM notes of the day, which begin like a bitmap", "text"),
        (b"BM\x10\0\0\0\0\0\0\0\x36\0\0\0\xff\0\0\0", "other"),
        ("Übersicht".encode(), "text"),
        ("text".encode("utf-16"), "text"),
        (b"", "text"),
        (b"CZDATA\0\0", "other"),
    ],
)
def test_what_is_no_image_by_its_first_bytes(first: bytes, content: str) -> None:
    assert content_of(first) == content


# Folders at the place of a slide of which nothing is read.


@pytest.mark.parametrize("names", ["c1.raw c2.raw", "c1.raw notes.txt Thumbs.db", "c1 c2", "1.dat"])
@pytest.mark.parametrize("layout", ["folder-per-slide", DONORS])
def test_a_slides_folder_in_which_nothing_is_read_is_said(export: Path, names: str, layout: str) -> None:
    put_cells(export, "D1/S1")
    for name in names.split():
        put(export, f"D1/S3/{name}", RAW)
    slides, said = slides_of(export, layout=layout)
    assert list(slides) == ["D1/S1"]
    assert [path for path, why in said.items() if why == UNREAD] == ["D1/S3"]


def test_a_folder_images_in_which_nothing_is_read_is_said(export: Path) -> None:
    put_cells(export, "D1/S1/images")
    put(export, "D1/S1/images/calibration.dat", RAW)
    put(export, "D1/S3/images/f1.raw", RAW)
    slides, said = slides_of(export, layout=DONORS, kind="fields")
    assert list(slides) == ["D1/S1"]
    assert [path for path, why in said.items() if why == UNREAD] == ["D1/S3/images"]


QUIET = (
    *("D1/S1/Thumbs.db", "D1/S1/.DS_Store", "D1/S1/notes.txt", "D1/S1/readme.pdf", "D1/S1/scan.xml", "D1/S1/a.csv"),
    *("D1/S1/a.ini", "D1/S1/a.log", "D1/S1/a.json", "D1/S1/cell_0001.met", "D1/S1/scanner.cfg2", "D1/S1/README"),
    *("D1/S1/plate.nd", "D1/S1/a.xdce", "D1/S1/index.htd", "D1/S1/calibration.dat", "D1/S1/state.bin"),
    *("D1/S1/metadata/stage.dat", "D1/S1/metadata/deeper/lamp.bin", "D1/S1/Thumbs/x.jpg", "D1/S1/previews/y.png"),
    *("D1/docs/readme.pdf", "D1/docs/log.txt", "D1/docs/settings.ini", "D1/docs/table.xlsx"),
    *("D1/scanner.dat", "settings.dat", "D1/Thumbs.db"),
)


@pytest.mark.parametrize("layout", [DONORS, "{donor}/{slide}/{cell}.tif"])
@pytest.mark.parametrize("kind", ["crops", "fields"])
def test_the_usual_litter_of_an_export_stays_silent(export: Path, layout: str, kind: str) -> None:
    put_cells(export, "D1/S1")
    for path in QUIET:
        put(export, path, RAW if path.endswith((".dat", ".bin", ".met", ".db")) else b"text")
    slides, said = slides_of(export, layout=layout, kind=kind)
    assert (list(slides), slides["D1/S1"].refused, len(slides["D1/S1"].files)) == (["D1/S1"], None, 5)
    assert not {UNREAD, HIDDEN_IMAGES} & set(said.values())


def test_data_of_a_file_above_are_no_slide_of_their_own(export: Path) -> None:
    put_cells(export, "D1/S1")
    for path in ("D1/S2.mrxs", "D1/S2/Data0000.dat", "D1/a.vsi", "D1/_a_/stack1/frame_t.ets"):
        put(export, path, RAW)
    said = slides_of(export, layout=DONORS)[1]
    assert UNREAD not in said.values()


@pytest.mark.parametrize("name", ["S2.xml", "S2.pdf", "S2.csv", "S2.svs.txt"])
def test_a_report_with_a_slides_name_does_not_silence_its_folder(export: Path, name: str) -> None:
    put_cells(export, "D1/S1")
    put(export, "D1/S2/c1.raw", RAW)
    put(export, f"D1/{name}", b"text")
    put(export, "D1.csv", b"text")
    assert slides_of(export, layout=DONORS)[1]["D1/S2"] == UNREAD


def test_pages_and_files_with_a_folder_of_data_own_it(export: Path) -> None:
    put_cells(export, "D1/S1")
    owners = {"report.htm": "report_files", "Bericht.HTML": "Bericht-Dateien", "a.oif": "a.oif.files", "b.VMS": "b"}
    for name, folder in owners.items():
        put(export, f"D1/{name}", b"text")
        put(export, f"D1/{folder}/x.raw", RAW)
    assert UNREAD not in slides_of(export, layout=DONORS)[1].values()


@pytest.mark.parametrize("layout", ["folder-per-slide", DONORS])
def test_folders_beside_the_images_of_a_slide_are_a_part_of_it(export: Path, layout: str) -> None:
    for slide in ("D1-1", "D1-2"):
        put_cells(export, f"D1/{slide}/images")
        put(export, f"D1/{slide}/meta/scan.bin", RAW)
        put(export, f"D1/{slide}/meta/deeper/scan.bin", RAW)
    put(export, "D1/D1-3/c1.raw", RAW)
    said = slides_of(export, layout=layout, kind="fields")[1]
    assert [path for path, why in said.items() if why == UNREAD] == ["D1/D1-3"]


def test_of_thousands_of_folders_the_one_around_them_is_listed_once(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cells(export, "D1/S1")
    for number in range(40):
        put(export, f"many/{number}/a.raw", RAW)
    listed: list[str] = []
    listdir = os.listdir

    def noted(folder: str) -> list[str]:
        listed.append(str(folder))
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", noted)
    said = slides_of(export)[1]
    assert list(said.values()).count(UNREAD) == 40
    assert len(listed) < 10


def test_signs_of_programs_and_systems_are_no_slide(export: Path) -> None:
    put_cells(export, "D1/S1")
    names = (
        *("ldb", "accdb", "laccdb", "sqlite-wal", "sqlite-shm", "msg", "dotx", "ocx", "sys", "cat", "dmp", "etl"),
        *("wmv", "mkv", "jar", "npz"),
    )
    for name in names:
        put(export, f"D1/of {name}/a.{name}", RAW)
    put(export, "D1/finished/done", b"")
    for folder in ("_gsdata_", "WindowsImageBackup", "$Extend", "LOST.DIR", "msdownld.tmp"):
        put(export, f"D1/{folder}/a.raw", RAW)
        put(export, f"{folder}/a.raw", RAW)
    slides, said = slides_of(export, layout=DONORS)
    assert list(slides) == ["D1/S1"]
    assert UNREAD not in said.values()


# Archives of what lies somewhere near them.


ARCHIVES_OF_THE_SLIDE = {
    "D1/S1.tar.gz": ("", "w:gz"),
    "D1/S1.tbz2": ("S1/", "w:bz2"),
    "D1/zip/S1.zip": ("", ""),
    "D1/zip/all.zip": ("S1/", ""),
    "D1/S1_20240301.zip": ("", ""),
    "D1/S1 2024-03-01 12.30.tar": ("", "w"),
    "export_backup.zip": ("old name of the export/D1/S1/", ""),
    "D1/S1/backup.dat": ("D1/S1/", ""),
}


@pytest.mark.parametrize("path", ARCHIVES_OF_THE_SLIDE)
def test_an_archive_of_a_slide_near_it_is_left_out_and_said(export: Path, path: str) -> None:
    put_cells(export, "D1/S1")
    inside, mode = ARCHIVES_OF_THE_SLIDE[path]
    there = {f"{inside}{cell.name}": cell.read_bytes() for cell in (export / "D1/S1").iterdir()}
    archive = put(export, path, tarred(there, mode) if mode else zipped(there))
    slides, said = slides_of(export, layout=DONORS)
    assert {key: slide.refused for key, slide in slides.items()} == {"D1/S1": None}
    assert "which is not unpacked" in said[path]
    other = {name: tiff(draw_cell(size=24, seed=70)) for name in there}
    assert {len(content) for content in other.values()} == {len(content) for content in there.values()}
    archive.write_bytes(tarred(other, mode) if mode else zipped(other))
    assert any(slide.refused for slide in slides_of(export, layout=DONORS)[0].values())


def test_nothing_outside_of_the_export_is_a_copy(export: Path) -> None:
    put(export.parent, "S1/cell.tif", CELL)
    put_cells(export, "D1/S1")
    put(export, "S1.zip", zipped({"cell.tif": CELL}))
    assert any(slide.refused for slide in slides_of(export, layout=DONORS)[0].values())


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_another_form_of_unicode_are_the_same(export: Path, form: str) -> None:
    name = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "Präparat.tif")
    put(export, f"D1/S1/{unicodedata.normalize(form, 'Präparat.tif')}", CELL)
    put(export, "D1/S1/all.zip", zipped({name: CELL}))
    put(export, "D1/S1/mac.zip", zipped({name.encode().decode("cp437"): CELL}))
    assert slides_of(export, layout=DONORS)[0]["D1/S1"].refused is None


def test_previews_that_only_an_archive_has_do_not_matter(export: Path) -> None:
    put_cells(export, "D1/S1")
    there = {path.name: path.read_bytes() for path in (export / "D1/S1").iterdir()}
    previews = {"thumbs/x.jpg": CELL, "overview.jpg": CELL}
    put(export, "D1/S1/all.zip", zipped({**there, **previews}))
    put(export, "D1/S1/previews.zip", zipped(previews))
    assert slides_of(export, layout=DONORS)[0]["D1/S1"].refused is None
    put(export, "D2/previews.zip", zipped({"thumbs/x.jpg": CELL}))
    assert [path for path, slide in slides_of(export, layout=DONORS)[0].items() if slide.refused] != []


# Backups beside a whole file, and pictures of the slide.


BACKUPS = (
    *(
        "cell_0001.tif_original",
        "cell_0001.tif.~1~",
        "cell_0001.tif.1",
        "cell_0001.tif.2024-03-01",
        "cell_0001.tif_old",
    ),
    *("cell_0001.tif.sync-conflict-20240301-120000-ABC", "cell_0001 - Kopie", "Kopie von cell_0001"),
)


@pytest.mark.parametrize("name", BACKUPS)
def test_a_backup_with_the_bytes_of_its_image_is_left_out_and_another_one_fails(export: Path, name: str) -> None:
    put_cells(export, "D1/S1")
    whole = (export / "D1/S1/cell_0001.tif").read_bytes()
    backup = put(export, f"D1/S1/{name}", whole)
    slides, said = slides_of(export, layout=DONORS)
    assert slides["D1/S1"].refused is None
    assert said == {f"D1/S1/{name}": "the same bytes as cell_0001.tif, which is taken"}
    backup.write_bytes((export / "D1/S1/cell_0002.tif").read_bytes())
    assert name in refusal_of(export, layout=DONORS)[0]


@pytest.mark.parametrize("same", [True, False])
def test_a_copy_with_a_tilde_waits_while_it_is_young_and_is_left_out_later(
    export: Path, monkeypatch: pytest.MonkeyPatch, *, same: bool
) -> None:
    put_cells(export, "D1/S1")
    put(export, "D1/S1/cell_0001.tif~", (export / f"D1/S1/cell_000{1 if same else 2}.tif").read_bytes())
    young = slides_of(export, layout=DONORS)[0]["D1/S1"]
    assert (young.refused, [file.path for file in young.unfinished]) == (None, ["D1/S1/cell_0001.tif~"])
    monkeypatch.setattr(walk, "UNFINISHED_SECONDS", -1)
    old, said = slides_of(export, layout=DONORS)
    assert (old["D1/S1"].refused, old["D1/S1"].unfinished) == (None, ())
    assert "D1/S1/cell_0001.tif~" in said
    (export / "D1/S1/cell_0001.tif").unlink()
    assert "cell_0001.tif~" in refusal_of(export, layout=DONORS)[0]


@pytest.mark.parametrize("name", ["preview.cache", "slide_map.dat", "preview.bin", "thumbnail.cache"])
def test_a_picture_of_the_slide_above_it_stays_silent(export: Path, name: str) -> None:
    put_cells(export, "D1/S1")
    for folder in ("D1/", ""):
        put(export, f"{folder}{name}", encoded(draw_cell(size=24), "png"))
    slides, said = slides_of(export, layout=DONORS)
    assert (list(slides), set(said)) == (["D1/S1"], {f"D1/{name}", name})


def test_a_folder_of_nothing_but_images_named_as_overviews_is_a_failed_slide(export: Path) -> None:
    for number in range(5):
        put(export, f"D1/S1/{number}_macro.dat", CELL)
    assert "5 files" in refusal_of(export, layout=DONORS)[0]
