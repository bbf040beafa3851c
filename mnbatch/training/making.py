"""What a process that makes cells runs. It imports no torch: that takes longer than making many cells does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mnbatch.imaging.preparation import Preparation, network_input, prepare_crop
from mnbatch.training import made
from mnbatch.training.data import UInt8Array


@dataclass(frozen=True, slots=True)
class Preparer:
    """From pictures to what a pool holds: the network's input before it is normalised.

    Attributes:
        colour_shares: of red, green and blue in the one channel that is kept; None keeps all three.
    """

    preparation: Preparation
    colour_shares: tuple[float, float, float] | None

    def picture(self, picture: UInt8Array) -> UInt8Array:
        """A picture as decoded -> (S, S, C)."""
        return self.crop(prepare_crop(picture, self.preparation))

    def crop(self, crop: UInt8Array) -> UInt8Array:
        """A prepared crop (S, S, 3) -> (S, S, C)."""
        seen = network_input(crop, self.preparation)
        if self.colour_shares is None:
            return seen
        return (seen @ np.array(self.colour_shares, np.float32) + 0.5).astype(np.uint8)[..., None]


Maker = Callable[[range], Iterator[made.Made]]


def made_part(maker: Maker, preparer: Preparer, indices: range) -> tuple[list[UInt8Array], list[int]]:
    """Make the cells of these numbers: prepared pictures, and how many micronuclei each has."""
    cells = [(preparer.picture(picture), n_mn) for picture, n_mn in maker(indices)]
    return [pixels for pixels, _ in cells], [n_mn for _, n_mn in cells]


def one_thread() -> None:
    """For numerical libraries of this process, which are imported afterwards."""
    os.environ["OMP_NUM_THREADS"] = "1"
