"""What a file asks for is looked at before memory or time is given to it."""

from __future__ import annotations

import io
import lzma
import resource
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from mnbatch.assay.cells import ReadTask, SourceFile
from mnbatch.errors import SlideError
from mnbatch.imaging.companions import whole_slide_companions
from mnbatch.imaging.fields.field_images import load_fields
from mnbatch.imaging.fields.label_images import load_labels
from mnbatch.imaging.formats import decoding
from mnbatch.imaging.formats.loading import load, page_count
from mnbatch.imaging.formats.size_limits import MAX_BYTES, MAX_DIRECTORIES, MAX_SCANS, UndecodableError, check_page
from mnbatch.imaging.formats.tiff_headers import check_description, open_tiff, read_header_of
from mnbatch.imaging.formats.whole_slides import open_whole
from mnbatch.imaging.inputs import recognise_input
from tests.imaging.bombs import LONG, SHORT, directory, one_page, pages_of_one_strip, picture_tags, pointing_to_itself
from tests.imaging.imaging_helpers import crop_of, draw_cell, encoded, put, reason_of, tiff

MIB = 1 << 20


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def circle(pages: int) -> bytes:
    """A chain of directories of which the last points to the first."""
    strip = bytes(range(256)) * 36
    data = struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip
    first = len(data)
    for index in range(pages):
        tags = picture_tags(96, 96, count=len(strip))
        size = len(directory(tags, len(data)))
        data += directory(tags, len(data), first if index == pages - 1 else len(data) + size)
    return data


@pytest.mark.parametrize("content", [pointing_to_itself(), circle(2), circle(150)], ids=["itself", "two", "150"])
def test_directories_in_a_circle_are_refused_by_every_reader(tmp_path: Path, content: bytes) -> None:
    assert "circle" in reason_of(tmp_path, content)
    path = str(put(tmp_path, "export/s/field.tif", content))
    assert [image.problem for image in load_fields(path, None)[1]] == [
        "damaged TIFF (its image directories point in a circle)"
    ]
    assert page_count(path, "field.tif") == 1
    assert recognise_input(tmp_path / "export", "folder-per-slide").kind == "crops"
    with pytest.raises(UndecodableError, match="circle"):
        load_labels(path)
    with pytest.raises(SlideError, match="circle"):
        open_whole(path, "s", None)
    with pytest.raises(SlideError, match="circle"):
        open_whole(str(put(tmp_path, "whole.svs", content)), "s", None)


def test_sub_directories_in_a_circle_are_refused() -> None:
    strip = bytes(256)
    at = 8 + len(strip)
    with pytest.raises(UndecodableError, match="circle"):
        read_header_of(one_page([*picture_tags(16, 16, count=256), (330, LONG, at)], strip))


def test_60_pages_of_one_strip_are_refused_by_what_they_decode_to(tmp_path: Path) -> None:
    content = pages_of_one_strip(60, zlib.compress(bytes(8000 * 8000), 9), 8000, 8000, 8)
    assert len(content) < 80_000
    before = peak_mib()
    assert "its pages decode to 3662 MiB" in reason_of(tmp_path, content)
    path = str(put(tmp_path, "field.tif", content))
    assert ["3662 MiB" in image.problem for image in load_fields(path, None)[1]] == [True]
    assert page_count(path, "field.tif") == 1
    assert peak_mib() - before < 100


def test_pages_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for seed in range(5):
            writer.write(draw_cell(seed=seed), metadata=None, contiguous=False)
    asked: list[int] = []
    whole = decoding._check_limits
    monkeypatch.setattr(
        "mnbatch.imaging.formats.decoding._check_limits",
        lambda page, size: (asked.append(page.index), whole(page, size))[1],  # type: ignore[func-returns-value]
    )
    path = put(tmp_path, "gallery.tif", stream.getvalue())
    file = SourceFile(path.name, path.stat().st_size, 0)
    for pages in (None, (0, 1, 2, 3, 4)):
        asked.clear()
        _, found = load(ReadTask("s-1", tmp_path, file, pages))
        for count in range(5):
            assert next(found).decoded is not None
            assert asked == list(range(count + 1))


def test_a_page_of_many_bytes_is_refused(tmp_path: Path) -> None:
    strip = zlib.compress(bytes(MIB))
    tags = [*picture_tags(8000, 8000, compression=8, bits=64, samples=4, count=len(strip)), (339, SHORT, [3] * 4)]
    content = one_page(tags, strip)
    before = peak_mib()
    assert reason_of(tmp_path, content).startswith(("its pixels take 1953 MiB", "its pages decode to 1953 MiB"))
    path = str(put(tmp_path, "mask.tif", content))
    with pytest.raises(UndecodableError, match="1953 MiB"):
        load_labels(path)
    assert peak_mib() - before < 100


def test_png_of_many_bytes_is_refused_by_its_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 8000, 8000, 16, 6, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4)
    assert "488 MiB" in reason_of(tmp_path, content)


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(draw_cell(), "jpeg"))
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, height, width)
    return bytes(data)


def jpeg2000_of(width: int, height: int) -> bytes:
    data = bytearray(imagecodecs.jpeg2k_encode(draw_cell(), level=0, codecformat="J2K"))
    struct.pack_into(">II", data, data.index(b"\xff\x4f\xff\x51") + 8, width, height)
    return bytes(data)


def png_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(draw_cell()))
    struct.pack_into(">II", data, 16, width, height)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    data = bytearray(imagecodecs.webp_encode(draw_cell(light=True), lossless=True))
    at = data.index(b"VP8L") + 9
    struct.pack_into("<I", data, at, (width - 1) | (height - 1) << 14)
    return bytes(data)


def jpeg_xr_of(width: int, height: int) -> bytes:
    data = bytearray(imagecodecs.jpegxr_encode(draw_cell()))
    for tag, value in ((0xBC80, width), (0xBC81, height)):
        at = data.index(struct.pack("<H", tag))
        struct.pack_into("<HHII", data, at, tag, 4, 1, value)
    return bytes(data)


INNER = [
    ("jpeg", 7, jpeg_of, 65000),
    ("old jpeg", 6, jpeg_of, 65000),
    ("jpeg 2000", 34712, jpeg2000_of, 65000),
    ("aperio", 33005, jpeg2000_of, 65000),
    ("png", 34933, png_of, 65000),
    ("webp", 50001, webp_of, 16000),
    ("jpeg xr", 34934, jpeg_xr_of, 65000),
]


@pytest.mark.parametrize(("name", "compression", "make", "side"), INNER, ids=[one[0] for one in INNER])
def test_a_picture_inside_a_strip_is_no_larger_than_the_strip(tmp_path: Path, name, compression, make, side) -> None:
    before = peak_mib()
    for large in ((side, side), (side, 96), (96, side)):
        strip = make(*large)
        content = one_page(picture_tags(96, 96, compression=compression, count=len(strip)), strip)
        assert f"a strip of 96 x 96 pixels holds one of {large[0]} x {large[1]}" in reason_of(tmp_path, content)
    assert peak_mib() - before < 100


def zeros(compressor, mib: int) -> bytes:
    return b"".join([*(compressor.compress(bytes(MIB)) for _ in range(mib)), compressor.flush()])


STRIPS = {
    "deflate": (8, lambda: zeros(zlib.compressobj(6), 128)),
    "old deflate": (32946, lambda: zeros(zlib.compressobj(6), 128)),
    "packbits": (32773, lambda: b"\x81\x00" * (2 * MIB)),
    "zstd": (50000, lambda: imagecodecs.zstd_encode(bytes(128 * MIB), level=1)),
    "lzma": (34925, lambda: zeros(lzma.LZMACompressor(preset=0), 128)),
}


@pytest.mark.parametrize("name", STRIPS)
def test_a_strip_gives_no_more_than_its_pixels(name: str) -> None:
    compression, make = STRIPS[name]
    strip = make()
    content = one_page(picture_tags(96, 96, compression=compression, count=len(strip)), strip)
    before = peak_mib()
    tiff_file, header = open_tiff(io.BytesIO(content))
    try:
        values = decoding.page_values(tiff_file.pages.first, header.size)
    except decoding.DECODING_ERRORS:
        values = np.zeros((96, 96))
    assert values.shape == (96, 96)
    assert peak_mib() - before < 100


def test_lzma_of_a_huge_dictionary_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 64 * MIB}]
    strip = bytearray(lzma.compress(bytes(96 * 96), filters=filters))
    at = strip.index(b"\x21\x01", 12)
    strip[at + 2] = 40  # 4 GiB
    size = (strip[12] + 1) * 4
    strip[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(bytes(strip[12 : 12 + size - 4])))
    content = one_page(picture_tags(96, 96, compression=34925, count=len(strip)), bytes(strip))
    assert "emory" in reason_of(tmp_path, content)


@pytest.mark.parametrize("compression", [50002, 34887, 65000, 12345])
def test_compressions_without_a_known_bound_are_refused(tmp_path: Path, compression: int) -> None:
    content = one_page(picture_tags(96, 96, compression=compression, count=4), b"\0\0\0\0")
    assert "is not supported" in reason_of(tmp_path, content)


CODECS = ["lzw", "zlib", "packbits", "zstd", "lzma", "jpeg", "jpeg2000", "jpegxr", "png", "webp", None]


@pytest.mark.parametrize("light", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("codec", CODECS)
def test_what_microscopes_write_is_read_as_before(tmp_path: Path, codec: str | None, light: bool) -> None:
    pixels = draw_cell(light=light)
    if codec == "webp" and not light:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    for tile in (None, (64, 64), (512, 512)):
        content = tiff(pixels, compression=codec, photometric=photometric, tile=tile)
        assert crop_of(tmp_path, content).digest == digest_of(tifffile.imread(io.BytesIO(content)))


def digest_of(values: np.ndarray) -> str:
    from mnbatch.imaging.readers import pixel_digest

    return pixel_digest(values)


def test_strips_read_over_and_over_are_refused() -> None:
    strip = bytes(MIB)
    tags = [tag for tag in picture_tags(256, 256) if tag[0] not in (273, 278, 279)]
    tags += [(273, LONG, [8] * 256), (278, LONG, 1), (279, LONG, [MIB] * 256)]
    opened, header = open_tiff(io.BytesIO(one_page(tags, strip)))
    with pytest.raises(UndecodableError, match="over and over"):
        check_page(opened.pages.first, header.size)


def with_raw_tag(tag: int, kind: int, count: int) -> bytes:
    """A page one tag of which promises `count` values."""
    content = bytearray(one_page([*picture_tags(16, 16, count=256), (tag, LONG, 8)], bytes(256)))
    at = content.index(struct.pack("<HH", tag, LONG), 264)
    struct.pack_into("<HHI", content, at, tag, kind, count)
    return bytes(content)


@pytest.mark.parametrize(
    ("tag", "kind", "count"), [(65000, 3, 1 << 31), (65000, 7, 1 << 30), (270, 2, 1 << 28), (320, 16, 1 << 24)]
)
def test_a_tag_promises_no_more_than_a_limit(tmp_path: Path, tag: int, kind: int, count: int) -> None:
    assert "damaged TIFF" in (reason := reason_of(tmp_path, with_raw_tag(tag, kind, count))) or "description" in reason


def test_number_of_directories_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pages_of_one_strip(12, bytes(256), 16, 16, 1)
    assert read_header_of(content).count == 12
    monkeypatch.setattr("mnbatch.imaging.formats.tiff_headers.MAX_DIRECTORIES", 11)
    with pytest.raises(UndecodableError, match="more than 11"):
        read_header_of(content)


def test_a_chain_that_breaks_off_counts_one_more_in_fields_too(tmp_path: Path) -> None:
    content = pages_of_one_strip(5, draw_cell().tobytes(), 96, 96, 1)
    header = read_header_of(content)
    within = content[: header.directories[3].offset + 4]
    cut = content[: header.directories[3].offset]
    for lost in (within, cut):
        assert (read_header_of(lost).count, read_header_of(lost).broken) == (4, True)
        fields = list(load_fields(str(put(tmp_path, "f.tif", lost)), None)[1])
        assert fields[-1].problem
    fields = list(load_fields(str(put(tmp_path, "f.tif", cut)), None)[1])
    assert [bool(field.problem) for field in fields] == [False, False, False, True]
    assert "what followed it are missing" in fields[3].problem


OME = '<OME><Image><Pixels SizeX="16" SizeY="16" {}><TiffData {}/></Pixels></Image></OME>'


@pytest.mark.parametrize(
    "text",
    [
        OME.format('SizeC="1" SizeZ="1" SizeT="1000000000"', ""),
        OME.format('SizeC="1000" SizeZ="1000" SizeT="1000"', ""),
        OME.format('SizeC="1" SizeZ="1" SizeT="1"', 'IFD="0" PlaneCount="1000000000"'),
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]>' + OME.format("", ""),
        "ImageJ=1.53\nimages=1000000000\nslices=1000000000\n",
        '{"shape": [1000000000, 16, 16, 1]}',
    ],
)
def test_descriptions_that_promise_planes_without_end_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UndecodableError):
        check_description(text.encode())
    content = one_page([*picture_tags(16, 16, count=256), (270, 2, text.encode())], bytes(range(256)))
    assert reason_of(tmp_path, content)
    assert [bool(field.problem) for field in load_fields(str(put(tmp_path, "f.tif", content)), None)[1]] == [True]


def test_descriptions_of_microscopes_pass() -> None:
    check_description(OME.format('SizeC="3" SizeZ="20" SizeT="100"', 'IFD="5999" PlaneCount="1"').encode())
    check_description(b"ImageJ=1.53t\nimages=400\nchannels=2\nslices=200\n")
    check_description(b'{"shape": [5000, 96, 96, 3]}')
    assert MAX_DIRECTORIES > 5999


def test_a_jpeg_of_very_many_passes_is_refused(tmp_path: Path) -> None:
    content = encoded(draw_cell(), "jpeg", progressive=True)
    assert crop_of(tmp_path, content)
    scan = content[content.rindex(b"\xff\xda") : -2]
    assert "passes" in reason_of(tmp_path, content[:-2] + scan * MAX_SCANS + content[-2:])


def test_a_slide_of_a_size_that_none_has_is_refused(tmp_path: Path) -> None:
    def slide(width: int, height: int, tile: int, samples: int = 1) -> bytes:
        tags = [tag for tag in picture_tags(width, height, samples=samples) if tag[0] not in (273, 278, 279)]
        return one_page([*tags, (322, LONG, tile), (323, LONG, tile), (324, LONG, 8), (325, LONG, 256)], bytes(256))

    cases = [
        (slide(2_000_000_000, 2_000_000_000, 256), "no slide has"),
        (slide(100_000, 100_000, 65_536), "huge"),
        (slide(1000, 1000, 1008, 3000), "MiB"),
        (slide(100_000, 100_000, 256), "image data missing"),
    ]
    for name in ("s.tif", "s.svs"):
        for content, reason in cases[: 2 if name == "s.svs" else 4]:
            with pytest.raises(SlideError, match=reason):
                open_whole(str(put(tmp_path, name, content)), "s", None)


def test_an_image_is_looked_at_within_the_limits_when_an_export_is_recognised(tmp_path: Path) -> None:
    """799 pixels high and very long: neither crop nor field by its sides, so it would be decoded."""
    bmp = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 200_000, 799, 1, 24, 0, 0, 0, 0, 0, 0)
    put(tmp_path, "s/a.bmp", bmp)
    strip = zlib.compress(bytes(MIB))
    put(tmp_path, "s/b.tif", one_page(picture_tags(200_000, 799, compression=8, count=len(strip)), strip))
    before = peak_mib()
    assert recognise_input(tmp_path, "folder-per-slide").kind == "crops"
    assert peak_mib() - before < 100


def test_an_index_names_a_limited_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(tmp_path, f"{name}.jpg")
    index = put(tmp_path, "x.vms", b"[Virtual Microscope Specimen]\na=a.jpg\nb=b.jpg\nc=c.jpg\n")
    assert len(whole_slide_companions(str(index))) == 3
    monkeypatch.setattr("mnbatch.imaging.companions.MAX_COMPANIONS", 2)
    assert len(whole_slide_companions(str(index))) == 2


def test_the_largest_image_that_is_served_fits() -> None:
    assert decoding.MAX_PIXELS * 3 * 2 <= MAX_BYTES
