"""One polarity for both looks: background 0, nuclei bright."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import UInt8Array
from mnbatch.imaging.ground import ground_of, thinned

DENSITY_TOP = 230.0
"""Grey level that the densest hundredth of a crop gets in canonical polarity; leaves room above."""

_DENSITY_PERCENTILE = 99.0
_LEVELS = np.arange(256, dtype=np.float32)


def density(crop: UInt8Array) -> UInt8Array:
    """Canonical polarity of one crop, (size, size, 3) uint8; see `preparation.network_input`."""
    grid = thinned(crop)
    ground = ground_of(grid)
    result = np.empty_like(crop)
    if ground.dark:
        single = np.maximum(np.maximum(crop[..., 0], crop[..., 1]), crop[..., 2])
        table = _scaled(_linear_table(float(ground.colour.max())), thinned(single))
        single = looked_up(single, table[0])
        for channel in range(3):
            result[..., channel] = single
        return result
    tables = _scaled(_optical_tables(ground.colour), grid)
    for channel in range(3):
        result[..., channel] = looked_up(crop[..., channel], tables[channel])
    return result


def _linear_table(level: float) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(_LEVELS - np.float32(level), 0)[None])


def _optical_tables(colour: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(np.maximum(np.log10(colour + 1)[:, None] - np.log10(_LEVELS + 1), 0))


def _scaled(tables: npt.NDArray[np.float32], grid: UInt8Array) -> UInt8Array:
    """Scale tables (channels, 256) so that a high percentile of the mean density on `grid` becomes 230."""
    density = np.zeros(grid.shape[1], np.float32)
    for table, channel in zip(tables, grid, strict=True):
        density += table[channel]
    density.sort()
    top = float(density[int(_DENSITY_PERCENTILE / 100 * (len(density) - 1))]) / len(tables)
    scale = np.float32(DENSITY_TOP / top if top > 0 else 0.0)
    return np.asarray(np.clip(tables * scale + np.float32(0.5), 0, 255), dtype=np.uint8)


def looked_up(values: UInt8Array, table: UInt8Array) -> UInt8Array:
    """`table[values]`, faster: indexing would widen every value to 8 bytes first."""
    return np.frombuffer(values.tobytes().translate(table.tobytes()), np.uint8).reshape(values.shape)
