"""The grid of heatmaps follows the input as AlexNet's layers do, and the bytes kept tell it back."""

import pytest
import torch

from mnbatch.assay.map_grid import ORIGIN, STEP, map_box, positions, positions_kept, record_bytes
from mnbatch.networks.attention_alexnet import AttentionAlexNet


@pytest.mark.parametrize("size", [64, 127, 224, 239, 240, 256, 320, 448])
def test_positions_are_those_of_the_networks_layers(size: int) -> None:
    with torch.inference_mode():
        layer5, layer6, _ = AttentionAlexNet().convolutions(torch.zeros(1, 3, size, size))
    assert layer5.shape[2:] == layer6.shape[2:] == (positions(size), positions(size))


def test_an_input_without_a_map_is_refused() -> None:
    with pytest.raises(ValueError, match="62 pixels"):
        positions(62)


def test_the_box_puts_each_position_at_its_centre() -> None:
    start, width = map_box(256, 15)
    for i in (0, 7, 14):
        assert (start + width * (i + 0.5) / 15) * 256 == pytest.approx(ORIGIN + STEP * i)


def test_bytes_tell_the_positions() -> None:
    assert record_bytes(13) == 511
    assert [positions_kept(record_bytes(n)) for n in (6, 13, 15, 27)] == [6, 13, 15, 27]
    with pytest.raises(ValueError, match="512 bytes"):
        positions_kept(512)
