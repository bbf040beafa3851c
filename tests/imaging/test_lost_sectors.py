"""Sectors lost from uncompressed pixels are found; crops that are filled up, masked or saturated are no damage."""

import io

import numpy as np
import pytest
import tifffile

from mnbatch.imaging.fields.label_images import load_labels
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.wholeness.lost_sectors import DamageError
from mnbatch.imaging.wholeness.tiff_strips import check_pixels
from tests.campaign.mutations import crops

LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 16},
    "tiles": {"tile": (64, 64)},
    "large tiles": {"tile": (128, 128)},
    "zstd": {"compression": "zstd"},
    "zstd of differences": {"compression": "zstd", "predictor": True},
}


def written(picture, **options):
    stream = io.BytesIO()
    photometric = "rgb" if picture.ndim == 3 else "minisblack"
    tifffile.imwrite(stream, picture, photometric=photometric, metadata=None, **options)
    return bytearray(stream.getvalue())


def check(data):
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        check_pixels(tiff.pages[0])


def whole_pictures(stain, number):
    picture = crops(stain, number)
    height, width = picture.shape[:2]
    yield picture
    for part in (slice(0, 40), slice(height - 37, height)):
        for value in (0, 37):
            filled = np.full_like(picture[part], value)
            yield np.concatenate([picture[: part.start], filled, picture[part.stop :]])
    for part in (np.s_[:, :52], np.s_[:, width - 45 :]):  # type: ignore[assignment]
        filled = picture.copy()
        filled[part] = 255
        yield filled
    rows, columns = np.mgrid[:height, :width]
    masked = picture.copy()
    masked[np.hypot(rows - height / 2, columns - width / 2) > 0.45 * height] = 0
    yield masked


@pytest.mark.parametrize("filling", ["fe", "cc", "ff", "noise"])
def test_a_tail_of_any_value_and_half_a_picture_of_noise_are_damage(filling):
    data = written(crops("fluorescence", 1))
    start = 512 * (len(data) * 2 // 5 // 512) + (0 if filling == "noise" else 37)
    noise = np.random.default_rng(1).bytes(len(data) - start)
    data[start:] = noise if filling == "noise" else bytes.fromhex(filling) * (len(data) - start)
    with pytest.raises(DamageError):
        check(data)


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_crops_that_are_filled_up_or_masked_are_no_damage(stain, layout):
    for number in range(4):
        for picture in whole_pictures(stain, number):
            check(written(picture, **LAYOUTS[layout]))


@pytest.mark.parametrize("order", ["<", ">"])
def test_blank_parts_of_tiles_of_16_bits_are_found_in_either_byte_order(order):
    picture = np.pad(crops("fluorescence", 2), [(0, 32), (0, 32)], mode="reflect").astype(np.uint16) * 16 + 3
    data = written(picture, tile=(64, 64), byteorder=order)
    check(data)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        start = tiff.pages[0].dataoffsets[5]
    data[start : start + 8192] = bytes(8192)
    with pytest.raises(DamageError, match="blank parts of tiles"):
        check(data)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("layout", ["one strip", "strips", "tiles", "large tiles"])
def test_blank_sectors_in_the_middle_are_found_though_rows_divide_them(layout, value):
    picture = crops("fluorescence", 2)
    picture = np.pad(picture, [(0, 32), (0, 32)], mode="reflect")
    assert picture.shape[1] % 64 == 0
    data = written(picture, **LAYOUTS[layout])
    data[8 * 4096 : 9 * 4096] = bytes([value]) * 4096
    with pytest.raises(DamageError, match="blank"):
        check(data)


def test_a_blank_tile_beside_one_that_shows_a_nucleus_is_found_in_a_picture_with_a_blank_ground():
    rows, columns = np.mgrid[:256, :256]
    noise = np.random.default_rng(3).integers(0, 30, (256, 256))
    nucleus = np.hypot(rows - 128, columns - 128) < 90
    picture = np.where(nucleus, 150 + noise, 0).astype(np.uint8)
    data = written(picture, tile=(64, 64))
    check(data)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        start = tiff.pages[0].dataoffsets[5]
    data[start : start + 4096] = bytes(4096)
    with pytest.raises(DamageError, match="breaks off"):
        check(data)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}, {"compression": "packbits"}])
def test_a_label_image_is_whole_or_refused_and_its_blank_areas_are_no_damage(tmp_path, options):
    labels = np.zeros((256, 256), np.uint16)
    labels[40:80, 50:90] = 1
    labels[150:200, 100:140] = 700
    path = tmp_path / "mask.tif"
    data = written(labels, rowsperstrip=32, **options)
    path.write_bytes(data)
    assert np.array_equal(load_labels(str(path)), labels)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        counts = tiff.pages[0].tags["StripByteCounts"]
        data[counts.valueoffset + 3 * 2 : counts.valueoffset + 4 * 2] = b"\x05\x00"
    path.write_bytes(data)
    with pytest.raises(UndecodableError, match="mask"):
        load_labels(str(path))
