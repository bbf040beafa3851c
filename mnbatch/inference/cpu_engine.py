"""How minibatches are run on the cores of a processor."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mnbatch.assay.cells import UInt8Array
from mnbatch.imaging.preparation import fill_channels, network_input
from mnbatch.imaging.stain_recognition import grey_of
from mnbatch.inference.cpu_convolutions import faster_here, takes_grey, with_faster_convolutions
from mnbatch.inference.engines import own_network
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import PRECISIONS, Normaliser, Scores, explained, packed, unpacked
from mnbatch.inference.second_look import SecondLook
from mnbatch.processes import available_cores

CPU_MINIBATCH = 16
"""Activations of 16 cells stay below the size at which the allocator asks for fresh pages each time."""


class CpuEngine:
    """One minibatch a core, each computed by a single thread, channels-last, in float32 unless bfloat16 was asked for.

    Measured against one minibatch spread over all cores this is about 15 % faster on two cores, and the
    scores do not depend on the number of cores.

    Args:
        threads: minibatches computed at once; all cores this process may use by default.
        convolutions: their type; the rest is float32.
    """

    def __init__(
        self,
        model: LoadedModel,
        minibatch: int | None = None,
        threads: int | None = None,
        convolutions: torch.dtype = torch.float32,
    ) -> None:
        device = torch.device("cpu")
        self._convolutions = convolutions
        self.precision = PRECISIONS[convolutions]
        threads = threads or available_cores()
        self.minibatch = minibatch or CPU_MINIBATCH
        self.in_flight = threads + 1  # one waits, so that no core does
        self.device_name = f"cpu ({threads} threads)"
        self._card = model.card
        self._network = own_network(model, device)
        if convolutions == torch.float32:
            with_faster_convolutions(self._network, faster_here())
        self._normalise = Normaliser(model.card, device)
        self._one_channel = takes_grey(self._network)
        self._second_look = SecondLook.of(model.card)
        self._pool = ThreadPoolExecutor(threads, "score", initializer=torch.set_num_threads, initargs=(1,))

    def submit(self, crops: Sequence[UInt8Array]) -> Future[Scores]:
        """See `Engine`."""
        return self._pool.submit(self._score, tuple(crops))

    def _score(self, crops: tuple[UInt8Array, ...]) -> Scores:
        parts = [
            self._score_minibatch(crops[first : first + self.minibatch])
            for first in range(0, len(crops), self.minibatch)
        ]
        return Scores.joined(parts)

    def _score_minibatch(self, crops: tuple[UInt8Array, ...]) -> Scores:
        with torch.inference_mode():
            x, grey = self._inputs(crops)
            values = self._look(x)[: len(crops)]
            if self._second_look:
                values = self._second_look.joined(values, lambda places: _of_cells(x, grey, places), self._look)
        return unpacked(values.numpy(), self._card.temperature)

    def _inputs(self, crops: tuple[UInt8Array, ...]) -> tuple[Tensor, list[bool]]:
        """Network inputs of a whole minibatch, (B, 3, S, S), or (B, 1, S, S) where all are grey; and which are grey."""
        size = self._card.preparation.size
        inputs = [network_input(crop, self._card.preparation) for crop in crops]
        stays_grey = self._normalise.same_in_all_channels
        channels = [grey_of(values) if stays_grey else None for values in inputs]
        grey = [channel for channel in channels if channel is not None]
        if len(grey) == len(crops):
            filled = np.zeros((self.minibatch, size, size), np.uint8)
            for place, channel in enumerate(grey):
                filled[place] = channel
            return self._normalise.grey(torch.from_numpy(filled)), [True] * len(crops)
        filled = np.zeros((self.minibatch, size, size, 3), np.uint8)
        for place, values in enumerate(inputs):
            fill_channels(filled[place], values)
        return self._normalise(torch.from_numpy(filled)), [channel is not None for channel in channels]

    def _look(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)
        if not self._one_channel:
            x = x.contiguous(memory_format=torch.channels_last)
        return packed(explained(self._network, x, self._convolutions))

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _of_cells(x: Tensor, grey: Sequence[bool], places: Tensor) -> Tensor:
    """Network inputs of these cells: one channel where all of them are grey, whatever the others are."""
    found = x[places]
    return found[:, :1].contiguous() if all(grey[place] for place in places.tolist()) else found
