"""Where the positions of a heatmap lie on the crop: one grid for all networks, as wide as their input says."""

from __future__ import annotations

import math

ORIGIN, STEP = 15, 16
"""Position i of a map is centred at pixel `ORIGIN + STEP * i` of the network's input: the centre of the receptive field
of position i of AlexNet's layers 5 and 6."""

_SCALE_BYTES = 4


def positions(input_size: int) -> int:
    """Positions a side of AlexNet's layers 5 and 6 for an input of so many pixels a side: 13 at 224, 15 at 256.

    Raises:
        ValueError: the input is too small for the network (below 63 pixels).
    """
    first = (input_size + 4 - 11) // 4 + 1  # 11 x 11, stride 4, 2 pixels of padding
    number = ((first - 3) // 2 + 1 - 3) // 2 + 1  # pooled twice, 3 x 3, stride 2
    if number < 3:  # the last layer is pooled once more
        raise ValueError(f"an input of {input_size} pixels leaves no map")
    return number


def map_box(input_size: int, number: int) -> tuple[float, float]:
    """Start and width, as shares of the crop's width, of the square that `number` x `number` positions cover."""
    return (ORIGIN - STEP / 2) / input_size, STEP * number / input_size


def record_bytes(number: int) -> int:
    """Bytes of three maps of `number` x `number` positions as they are kept, one byte a position and one scale."""
    return 3 * number * number + _SCALE_BYTES


def positions_kept(bytes_a_cell: int) -> int:
    """The counterpart of `record_bytes`.

    Raises:
        ValueError: no grid takes so many bytes.
    """
    number = math.isqrt(max(0, bytes_a_cell - _SCALE_BYTES) // 3)
    if number < 1 or record_bytes(number) != bytes_a_cell:
        raise ValueError(f"{bytes_a_cell} bytes a cell are no maps")
    return number
