import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mnbatch.assay.near_copies import SIDE, SPECTRUM_BYTES, THUMBNAIL_BYTES, find_near_copies, likeness_of
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import draw_slide_appearance


def picture(stain, number, slide=0):
    """A simulated cell, 224 pixels wide, 8 bits grey."""
    seen = draw_slide_appearance(np.random.default_rng(slide), stain)
    image = simulate_cell(np.random.default_rng([slide, number]), CellSpec(stain), seen).image
    pixels = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    return Image.fromarray(pixels).convert("L").resize((224, 224), Image.Resampling.BICUBIC)


def thumbnail(image):
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def pairs_of(images):
    thumbnails = [image if isinstance(image, np.ndarray) else thumbnail(image) for image in images]
    spectra = np.stack([np.frombuffer(likeness_of(one).spectrum, np.uint8) for one in thumbnails])
    return find_near_copies(spectra, thumbnails.__getitem__).tolist()


def jpeg(image, quality):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


AGAIN = {
    "jpeg": lambda image: jpeg(image, 50),
    "half as large": lambda image: image.resize((112, 112), Image.Resampling.BICUBIC),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "darker": lambda image: image.point([round(0.8 * value) for value in range(256)]),
    "gamma": lambda image: image.point([round(255 * (value / 255) ** 1.2) for value in range(256)]),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "shifted": lambda image: image.transform((224, 224), Image.Transform.AFFINE, (1, 0, 7, 0, 1, 3)),
    "turned, smaller and jpeg": lambda image: jpeg(image.rotate(180).resize((112, 112)), 60),
}


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
@pytest.mark.parametrize("how", AGAIN)
def test_the_same_picture_saved_again_is_found(stain, how):
    cells = [picture(stain, number) for number in range(4)]
    assert pairs_of([*cells, AGAIN[how](cells[2])]) == [[2, 4]]


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
def test_other_cells_of_one_slide_are_no_copies(stain):
    assert pairs_of([picture(stain, number, slide=1) for number in range(150)]) == []


def test_pictures_without_structure_are_not_compared():
    rng = np.random.default_rng(1)
    flat = [np.full((SIDE, SIDE), 90, np.uint8)] * 2
    faint = [np.round(90 + rng.normal(0, 0.6, (SIDE, SIDE))).astype(np.uint8)] * 2
    assert pairs_of([*flat, *faint]) == []
    assert likeness_of(flat[0]).spectrum == bytes(SPECTRUM_BYTES)
    assert len(likeness_of(flat[0]).thumbnail) == THUMBNAIL_BYTES


def test_thousands_of_pictures_of_noise_are_no_copies_and_end():
    rng = np.random.default_rng(2)
    assert pairs_of(list(rng.integers(0, 255, (3000, SIDE, SIDE), np.uint8))) == []


def test_none_and_one_have_no_pair():
    assert find_near_copies(np.zeros((0, SPECTRUM_BYTES), np.uint8), lambda index: np.zeros(0)).shape == (0, 2)  # type: ignore[return-value]
    assert pairs_of([picture("giemsa", 0)]) == []


@pytest.mark.parametrize("noise", [0, 2, 25, 60])
def test_drawings_of_one_shape_with_noise_of_their_own_are_no_copies(noise):
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:96, :96]
    drawn = []
    for _ in range(6):
        field = np.full((96, 96), 400.0)
        for middle in (31, 65):
            field[np.hypot(columns - middle, rows - 48) < 15] = 2900 + rng.normal(0, 60)
        values = np.clip(field + rng.normal(0, noise, field.shape), 0, 4095)
        drawn.append(Image.fromarray(np.round(values / 16).astype(np.uint8)).resize((224, 224)))
    assert pairs_of(drawn) == []
