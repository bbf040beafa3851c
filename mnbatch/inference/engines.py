"""How minibatches are run: on the cores of a processor, or on a GPU.

Both take crops as `mnbatch.imaging.preparation.prepare_crop` gives them, apply the card's `network_input`
(here, in worker threads), fill the minibatch up to its fixed size and give back the scores of the crops that
came in. Every minibatch has the same size and no kernel mixes cells, so a score depends on neither neighbours
nor place."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import MnbatchError
from mnbatch.imaging.preparation import fill_channels, fill_input, network_input
from mnbatch.imaging.stain_recognition import grey_of
from mnbatch.inference.cpu_convolutions import faster_here, takes_grey, with_faster_convolutions
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import (
    PRECISIONS,
    Normaliser,
    Scores,
    convolutions_for,
    explained,
    network_of,
    packed,
    unpacked,
)
from mnbatch.inference.second_look import SecondLook
from mnbatch.networks.network import Network
from mnbatch.processes import available_cores

CPU_MINIBATCH = 16
"""Activations of 16 cells stay below the size at which the allocator asks for fresh pages each time."""

LARGEST_GPU_MINIBATCH = 512
_GPU_BYTES_PER_CELL = {torch.bfloat16: 6 << 20, torch.float32: 64 << 20}
"""By the type of the convolutions; float32 serves the other networks, for which this is a guess for VGG-16."""

_GPU_SHARE = 1 / 3

_log = logging.getLogger(__name__)


class DeviceLostError(MnbatchError):
    """A device that stopped answering; what it was computing is not known."""


class Pending(Protocol):
    """Scores that are being computed."""

    def done(self) -> bool:
        """True when `result` will not wait."""

    def result(self) -> Scores:
        """The scores, in the order of the crops; waits for them."""


class Engine(Protocol):
    """Runs minibatches of one fixed size."""

    device_name: str
    precision: str

    @property
    def minibatch(self) -> int:
        """Cells a pass."""

    @property
    def in_flight(self) -> int:
        """Minibatches that may be submitted before the first result is taken."""

    def submit(self, crops: Sequence[UInt8Array]) -> Pending:
        """Start scoring crops (S, S, 3) uint8, at most `minibatch` of them for one pass."""

    def close(self) -> None:
        """Wait for what is under way and free the workers."""


def _own_network(model: LoadedModel, device: torch.device) -> Network:
    network = copy.deepcopy(network_of(model)).eval().requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)


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
        self._network = _own_network(model, device)
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


class _Slot:
    """Fixed memory of one minibatch: crops on their way to the device, values on their way back.

    Page-locked on a GPU, so that copies run during computing.
    """

    def __init__(self, minibatch: int, size: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self.crops = torch.zeros((minibatch, size, size, 3), dtype=torch.uint8, pin_memory=pinned)
        self.rows = self.crops.numpy()
        self.values: Tensor | None = None
        self.occupant: _OnDevice | None = None
        self.event = torch.cuda.Event() if pinned else None  # type: ignore[no-untyped-call]

    def fetch(self, values: Tensor) -> None:
        if self.values is None or self.values.shape != values.shape:
            self.values = torch.empty(values.shape, dtype=values.dtype, pin_memory=self.event is not None)
        self.values.copy_(values, non_blocking=True)
        if self.event is not None:
            self.event.record()


class _OnDevice:
    """One minibatch under way in a slot; its scores are taken out once, before the slot is used again."""

    def __init__(
        self,
        slot: _Slot,
        count: int,
        temperature: float,
        device_name: str,
        look_again: Callable[[_Slot, Tensor], Tensor],
    ) -> None:
        self._slot = slot
        self._device_name = device_name
        self._count = count
        self._temperature = temperature
        self._look_again = look_again
        self._scores: Scores | None = None

    def done(self) -> bool:
        try:
            return self._scores is not None or self._slot.event is None or self._event_passed(self._slot.event)
        except torch.AcceleratorError as error:
            raise lost_device(self._device_name, error) from error

    @staticmethod
    def _event_passed(event: torch.cuda.Event) -> bool:
        return bool(event.query())  # type: ignore[no-untyped-call]

    def result(self) -> Scores:
        if self._scores is None:
            try:
                if self._slot.event is not None:
                    self._slot.event.synchronize()
                assert self._slot.values is not None
                values = self._look_again(self._slot, self._slot.values[: self._count])
            except torch.AcceleratorError as error:
                raise lost_device(self._device_name, error) from error
            self._scores = unpacked(values.numpy(), self._temperature)
        return self._scores


class _Parts:
    """Several minibatches that answer one call."""

    def __init__(self, parts: list[_OnDevice]) -> None:
        self._parts = parts

    def done(self) -> bool:
        return all(part.done() for part in self._parts)

    def result(self) -> Scores:
        return Scores.joined([part.result() for part in self._parts])


class DeviceEngine:
    """Large minibatches on a GPU: page-locked memory, copies that do not wait, one minibatch ahead.

    Convolutions of attention-AlexNet run in bfloat16, everything else in float32, all channels-last. Out of memory
    halves the minibatch and goes on; nothing moves to the CPU.

    Args:
        device: the GPU (the same code runs on "cpu", which is how it is tested without one).
        minibatch: cells a pass; by default as many as a third of the free memory holds, at most 512.
        threads: threads that apply `network_input`.
        convolutions: their type; None for what a GPU takes by itself.
    """

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        minibatch: int | None = None,
        threads: int | None = None,
        convolutions: torch.dtype | None = None,
    ) -> None:
        self._device = device
        self._card = model.card
        self.device_name = _device_name(device)
        self._convolutions = convolutions or convolutions_for(model.network, torch.device("cuda"), "auto")
        self.precision = PRECISIONS[self._convolutions]
        self.minibatch = minibatch or _gpu_minibatch(device, _GPU_BYTES_PER_CELL[self._convolutions])
        self.in_flight = 2  # one being computed, one being read back or filled
        try:
            self._network = _own_network(model, device)
            self._normalise = Normaliser(model.card, device)
        except torch.OutOfMemoryError as error:
            raise self._no_memory() from error
        self._slots = [self._new_slot() for _ in range(self.in_flight)]
        self._second_look = self._new_second_look()
        # Second looks overtake the next minibatch in its stream: somebody waits for them, nobody yet for that.
        cuda = device.type == "cuda"
        self._overtaking = torch.cuda.Stream(device, priority=-1) if cuda else None  # type: ignore[no-untyped-call]
        self._workers = threads or available_cores()
        self._pool = ThreadPoolExecutor(self._workers, "prepare")

    def submit(self, crops: Sequence[UInt8Array]) -> Pending:
        """See `Engine`; more crops than one minibatch (after it was halved) take several passes."""
        while True:
            size = self.minibatch
            try:
                return _Parts([self._launch(crops[i : i + size]) for i in range(0, len(crops), size)])
            except torch.OutOfMemoryError as error:
                if self.minibatch == 1:
                    raise self._no_memory() from error
            except torch.AcceleratorError as error:
                raise lost_device(self.device_name, error) from error
            self._halve()

    def _launch(self, crops: Sequence[UInt8Array]) -> _OnDevice:
        slot = self._slots[0]
        if slot.occupant is not None:
            slot.occupant.result()  # keeps its scores before the memory is used again
            slot.occupant = None
        self._fill(slot.rows, crops)
        with torch.inference_mode():
            x = self._normalise(slot.crops.to(self._device, non_blocking=True))
            slot.fetch(self._look(x))
        slot.occupant = _OnDevice(slot, len(crops), self._card.temperature, self.device_name, self._look_again)
        self._slots = [*self._slots[1:], slot]
        return slot.occupant

    def _look(self, x: Tensor) -> Tensor:
        return packed(explained(self._network, x, self._convolutions))

    def _look_again(self, slot: _Slot, first: Tensor) -> Tensor:
        """Rows of the first look -> those of both; waits for the second."""
        while self._second_look is not None:
            try:
                with torch.inference_mode(), torch.cuda.stream(self._overtaking):
                    return self._second_look.joined(
                        first,
                        cells=lambda places: self._normalise(slot.crops[places].to(self._device)),
                        look=lambda x: self._look(x).cpu(),
                    )
            except torch.OutOfMemoryError as error:
                if self._second_look.at_once == 1:
                    raise self._no_memory() from error
            self._second_look = SecondLook(self._card, self._second_look.at_once // 2)
            _log.warning(
                "Out of memory on %s: going on with second looks at %d cells.",
                self.device_name,
                self._second_look.at_once,
            )
        return first

    def _new_second_look(self) -> SecondLook | None:
        """About half a minibatch in a pass: one cell in ten is looked at again."""
        asked = self._card.second_look
        return SecondLook(self._card, max(1, self.minibatch // 2 // len(asked.views))) if asked else None

    def _fill(self, rows: UInt8Array, crops: Sequence[UInt8Array]) -> None:
        """Network inputs into the slot, in threads: on one core this would be slower than the GPU."""

        def fill(first: int) -> None:
            for place in range(first, len(crops), self._workers):
                fill_input(rows[place], crops[place], self._card.preparation)

        for _ in self._pool.map(fill, range(min(self._workers, len(crops)))):
            pass
        rows[len(crops) :] = 0

    def _halve(self) -> None:
        self.minibatch //= 2
        _log.warning("Out of memory on %s: going on with minibatches of %d.", self.device_name, self.minibatch)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()
        self._slots = [self._new_slot() for _ in self._slots]
        self._second_look = self._new_second_look()

    def _new_slot(self) -> _Slot:
        return _Slot(self.minibatch, self._card.preparation.size, self._device)

    def _no_memory(self) -> MnbatchError:
        return MnbatchError(
            f"{self.device_name} has not enough free memory for one cell.",
            "Wait until other programs have freed it, or choose another device with --device.",
        )

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def lost_device(name: str, error: Exception) -> DeviceLostError:
    """What is said of a device that fails while it computes."""
    why = (str(error).splitlines() or ["no reason given"])[0]
    return DeviceLostError(
        f"{name} was lost: {why}.",
        "Finished slides are kept. Check the device (nvidia-smi, the system's log), then start the same command again.",
    )


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _gpu_minibatch(device: torch.device, bytes_per_cell: int) -> int:
    free = torch.cuda.mem_get_info(device)[0]
    cells = max(1, int(free * _GPU_SHARE) // bytes_per_cell)
    return min(LARGEST_GPU_MINIBATCH, 1 << (cells.bit_length() - 1))
