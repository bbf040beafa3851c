"""What a device makes of prepared crops is what the host makes of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from mnbatch.imaging.preparation import Preparation, network_input, prepare_crop
from mnbatch.inference.device_input import AT_ONCE, DeviceInput

CPU = torch.device("cpu")
STAINS_DIFFER_AT = 1e-4
"""Share of levels that may be another by one."""


def cell(size, seed, kind):
    """Two nuclei in a colour on a background: stained, stained pale, grey, or bright on dark."""
    rng = np.random.default_rng(seed)
    crop = rng.normal(rng.uniform(150, 245, 3), rng.uniform(0, 14), (size, size, 3))
    rows, columns = np.mgrid[:size, :size]
    for _ in range(2):
        row, column = rng.uniform(0.3, 0.7, 2) * size
        inside = (rows - row) ** 2 + (columns - column) ** 2 < (rng.uniform(0.08, 0.18) * size) ** 2
        crop[inside] = rng.uniform(40, 150, 3)
    crop = np.clip(crop + rng.normal(0, 5, crop.shape), 0, 255)
    if kind == "pale":
        crop = crop * 0.3 + 150
    elif kind == "dark":
        crop = 255 - crop
    elif kind == "grey":
        crop[...] = crop[..., :1]
    elif kind == "nearly grey":
        crop[...] = crop.mean(axis=2, keepdims=True) + (crop - crop.mean(axis=2, keepdims=True)) * 0.2
    return np.clip(crop, 0, 255).astype(np.uint8)


def nothing_in_it(size):
    """Crops in which no nucleus, or no background, is to be seen."""
    rng = np.random.default_rng(0)
    halves = np.full((size, size, 3), 200, np.uint8)
    halves[: size // 2] = 100
    noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    return [*(np.full((size, size, 3), level, np.uint8) for level in (0, 77, 254, 255)), halves, noise]


def crops(size):
    kinds = ("stained", "dark", "grey", "pale", "nearly grey")
    return np.stack([*(cell(size, seed, kinds[seed % 5]) for seed in range(AT_ONCE + 3)), *nothing_in_it(size)])


def agrees(polarity, pixels):
    preparation = Preparation(size=pixels.shape[1], polarity=polarity)
    wanted = network_input(pixels, preparation).astype(int)
    found = DeviceInput(preparation, CPU)(torch.from_numpy(pixels)).numpy()
    assert found.dtype == np.uint8
    apart = np.abs(found - wanted)
    if polarity == "stains":
        assert apart.max() <= 1
        assert (apart > 0).mean() < STAINS_DIFFER_AT
    else:
        assert apart.max() == 0


@pytest.mark.parametrize("polarity", ["as_is", "density", "stains"])
@pytest.mark.parametrize("size", [50, 97, 224])
def test_is_what_the_host_makes(polarity, size):
    agrees(polarity, crops(size))


@pytest.mark.parametrize("polarity", ["density", "stains"])
def test_real_cells(shared_data, polarity):
    files = sorted((shared_data / "wbc-tecom").glob("*.bmp"))[::20]
    files += sorted((shared_data / "bccd").rglob("*.jpg"))[:5]
    opened = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    assert len(opened) >= 10
    agrees(polarity, np.stack([prepare_crop(one, Preparation(size=160)) for one in opened]))


@pytest.mark.parametrize("polarity", ["density", "stains"])
def test_no_crop_depends_on_its_company(polarity):
    pixels = torch.from_numpy(crops(97))
    made = DeviceInput(Preparation(size=97, polarity=polarity), CPU)
    together = made(pixels)
    for place in range(0, len(pixels), 7):
        assert torch.equal(made(pixels[place : place + 1])[0], together[place])
    assert torch.equal(made(pixels.flip(0)).flip(0), together)


@pytest.mark.parametrize("polarity", ["density", "stains"])
def test_one_channel_shown_three_times_is_a_grey_crop(polarity):
    grey = torch.from_numpy(np.ascontiguousarray(crops(97)[..., 0]))[..., None]
    made = DeviceInput(Preparation(size=97, polarity=polarity), CPU)
    assert torch.equal(made(grey.expand(-1, -1, -1, 3)), made(grey.repeat(1, 1, 1, 3)))


@pytest.mark.gpu
@pytest.mark.parametrize("polarity", ["density", "stains"])
def test_a_gpu_agrees_with_the_cpu(polarity):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    preparation, pixels = Preparation(size=224, polarity=polarity), torch.from_numpy(crops(224))
    here = DeviceInput(preparation, CPU)(pixels).int()
    there = DeviceInput(preparation, torch.device("cuda"))(pixels.cuda()).cpu().int()
    assert int((here - there).abs().max()) <= 1
    assert float((here != there).float().mean()) < STAINS_DIFFER_AT
