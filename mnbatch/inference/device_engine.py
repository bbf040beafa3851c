"""How minibatches are run on a GPU.

The host only copies crops into page-locked memory. Upload, `network_input`, the network and the way back are the
device's, in streams of their own, so that one minibatch travels while another is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import MnbatchError
from mnbatch.imaging.preparation import fill_channels
from mnbatch.imaging.stain_recognition import grey_of
from mnbatch.inference.device_input import DeviceInput
from mnbatch.inference.engines import Pending, own_network
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import (
    PRECISIONS,
    Normaliser,
    Scores,
    convolutions_for,
    explained,
    packed,
    unpacked,
)
from mnbatch.inference.recorded_pass import Pass, recorded
from mnbatch.inference.second_look import SecondLook
from mnbatch.processes import available_cores

LARGEST_GPU_MINIBATCH = 512
_GPU_BYTES_PER_CELL = {torch.bfloat16: 6 << 20, torch.float32: 64 << 20}
"""By the type of the convolutions; float32 serves the other networks, for which this is a guess for VGG-16."""

_GPU_SHARE = 1 / 3

_log = logging.getLogger(__name__)


class DeviceLostError(MnbatchError):
    """A device that stopped answering; what it was computing is not known."""


class _Slot:
    """Fixed memory of one minibatch: crops on their way to the device and there, values on their way back.

    Page-locked on a GPU, so that copies run during computing. Grey crops travel as one channel, in the same memory.

    Attributes:
        rows: (B, S, S, 3) uint8 of the host, and `grey_rows` (B, S, S): where crops are put.
    """

    def __init__(self, minibatch: int, size: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self._host = torch.zeros(minibatch * size * size * 3, dtype=torch.uint8, pin_memory=pinned)
        self._device = torch.zeros_like(self._host, device=device)
        self._shape = (minibatch, size, size)
        self.rows = self._host.view(*self._shape, 3).numpy()
        self.grey_rows = self._host[: self._host.numel() // 3].view(self._shape).numpy()
        self.crops = self._device.view(*self._shape, 3)
        self.values: Tensor | None = None
        self.occupant: _OnDevice | None = None
        self.event = torch.cuda.Event() if pinned else None  # type: ignore[no-untyped-call]

    def upload(self, grey: bool) -> None:
        """Start to copy the crops to the device; afterwards `crops` (B, S, S, 3) shows them there."""
        length = self._host.numel() // (3 if grey else 1)
        there = self._device[:length]
        there.copy_(self._host[:length], non_blocking=True)
        self.crops = there.view(*self._shape, 1).expand(-1, -1, -1, 3) if grey else there.view(*self._shape, 3)

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
    """Large minibatches on a GPU: page-locked memory, copies that do not wait, one minibatch ahead, a recorded pass.

    Convolutions of attention-AlexNet run in bfloat16, everything else in float32, all channels-last. Out of memory
    halves the minibatch and goes on; nothing moves to the CPU.

    Args:
        device: the GPU (the same code runs on "cpu", which is how it is tested without one).
        minibatch: cells a pass; by default as many as a third of the free memory holds, at most 512.
        threads: threads that copy crops.
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
        self._size = model.card.preparation.size
        self.device_name = _device_name(device)
        self._convolutions = convolutions or convolutions_for(model.network, torch.device("cuda"), "auto")
        self.precision = PRECISIONS[self._convolutions]
        if self._convolutions == torch.float32 and device.type == "cuda":
            # By itself cuDNN takes TF32, of which 10 bits of each number count, for float32.
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        self.minibatch = minibatch or _gpu_minibatch(device, _GPU_BYTES_PER_CELL[self._convolutions])
        self.in_flight = 2  # one being computed, one being read back or filled
        try:
            self._network = own_network(model, device)
            self._normalise = Normaliser(model.card, device)
            self._input = DeviceInput(model.card.preparation, device)
        except torch.OutOfMemoryError as error:
            raise self._no_memory() from error
        self._slots: list[_Slot] = []  # made with the first minibatch, as is the pass: who is short of memory halves it
        self._pass: Pass | None = None
        self._second_look = self._new_second_look()
        # Second looks overtake the next minibatch in its stream: somebody waits for them, nobody yet for that.
        cuda = device.type == "cuda"
        self._overtaking = torch.cuda.Stream(device, priority=-1) if cuda else None  # type: ignore[no-untyped-call]
        self._uploading = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]
        self._workers = threads or available_cores()
        self._pool = ThreadPoolExecutor(self._workers, "prepare")

    def submit(self, crops: Sequence[UInt8Array]) -> Pending:
        """See `Engine`; more crops than one minibatch (after it was halved) take several passes."""
        while True:
            size = self.minibatch
            try:
                with self._on_it():
                    return _Parts([self._launch(crops[i : i + size]) for i in range(0, len(crops), size)])
            except torch.OutOfMemoryError as error:
                if self.minibatch == 1:
                    raise self._no_memory() from error
            except torch.AcceleratorError as error:
                raise lost_device(self.device_name, error) from error
            self._halve()

    def _launch(self, crops: Sequence[UInt8Array]) -> _OnDevice:
        if not self._slots:
            self._slots = [_Slot(self.minibatch, self._size, self._device) for _ in range(self.in_flight)]
        slot = self._slots[0]
        if slot.occupant is not None:
            slot.occupant.result()  # keeps its scores before the memory is used again
            slot.occupant = None
        grey = self._fill(slot, crops)
        # Nobody uses the slot's memory on the device any more: its occupant has its scores.
        with torch.cuda.stream(self._uploading):
            slot.upload(grey)
        if self._uploading is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._uploading)
        with torch.inference_mode():
            if self._pass is None:
                self._pass = recorded(self._first_look, slot.crops)
            slot.fetch(self._pass(slot.crops))
        slot.occupant = _OnDevice(slot, len(crops), self._card.temperature, self.device_name, self._look_again)
        self._slots = [*self._slots[1:], slot]
        return slot.occupant

    def _first_look(self, crops: Tensor) -> Tensor:
        return self._look(self._normalise(self._input(crops)))

    def _look(self, x: Tensor) -> Tensor:
        return packed(explained(self._network, x, self._convolutions))

    def _look_again(self, slot: _Slot, first: Tensor) -> Tensor:
        """Rows of the first look -> those of both; waits for the second."""
        while self._second_look is not None:
            try:
                with self._on_it(), torch.inference_mode(), torch.cuda.stream(self._overtaking):
                    return self._second_look.joined(
                        first,
                        cells=lambda places: self._normalise(self._input(slot.crops[places.to(self._device)])),
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

    def _fill(self, slot: _Slot, crops: Sequence[UInt8Array]) -> bool:
        """Copy crops into the slot, in threads: on one core this would be slower than the GPU.

        Returns:
            True where all are grey, and one channel is filled.
        """
        channels = [grey for crop in crops if (grey := grey_of(crop)) is not None]
        all_grey = len(channels) == len(crops)

        def fill(first: int) -> None:
            for place in range(first, len(crops), self._workers):
                if all_grey:
                    slot.grey_rows[place] = channels[place]
                else:
                    fill_channels(slot.rows[place], crops[place])

        for _ in self._pool.map(fill, range(min(self._workers, len(crops)))):
            pass
        rows = slot.grey_rows if all_grey else slot.rows
        rows[len(crops) :] = 0
        return all_grey

    def _halve(self) -> None:
        self.minibatch //= 2
        _log.warning("Out of memory on %s: going on with minibatches of %d.", self.device_name, self.minibatch)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()
        self._slots, self._pass = [], None
        self._second_look = self._new_second_look()

    def _on_it(self) -> AbstractContextManager[object]:
        """Streams and events are those of the current device, which with several is the first unless it is said."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

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
