"""The classifier: a model on a device, from crops to probabilities and maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import torch

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import UsageError
from mnbatch.inference.cpu_engine import CpuEngine
from mnbatch.inference.device_engine import DeviceEngine
from mnbatch.inference.engines import Engine, Pending
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Scores, convolutions_for, maps_of
from mnbatch.inference.several_devices import SeveralDevices
from mnbatch.processes import available_cores

__all__ = ["Classifier", "Pending", "Scores", "pick_device"]


class Classifier:
    """Scores crops with one model on one device.

    Crops come as `mnbatch.imaging.preparation.prepare_crop` gives them (natural colours); the card's
    `network_input` is applied inside, in worker threads.

    Args:
        model: verified model; it is copied, so that it may serve several devices.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:N", several of one kind as "cuda:0,cuda:1", or
            "all" GPUs.
        minibatch: cells a pass; None for the device's own choice.
        threads: worker threads; None for all cores that this process may use.
        precision: of the convolutions: fp32, bf16, or auto (bf16 of attention-AlexNet on a GPU, else fp32).

    Raises:
        UsageError: unknown or absent device, a minibatch or number of threads below 1, or a precision that the
            network or the processor has not.
        MnbatchError: the GPU has no room for the model.
    """

    def __init__(
        self,
        model: LoadedModel,
        device: str = "auto",
        minibatch: int | None = None,
        threads: int | None = None,
        precision: str = "auto",
    ) -> None:
        for name, value in (("--minibatch", minibatch), ("threads", threads)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}.", "Give a whole number of at least 1, or auto.")
        self.model = model
        chosen = pick_devices(device)
        convolutions = convolutions_for(model.network, chosen[0], precision)
        self._engine = _engine_of(model, chosen, minibatch, threads, convolutions)

    @property
    def minibatch(self) -> int:
        """Cells a pass; becomes smaller when a GPU runs out of memory."""
        return self._engine.minibatch

    @property
    def in_flight(self) -> int:
        """Minibatches that may be submitted before the first result is taken."""
        return self._engine.in_flight

    @property
    def device_name(self) -> str:
        """For the manifest, e.g. `cpu (2 threads)` or `cuda:0 (name of the GPU)`."""
        return self._engine.device_name

    @property
    def precision(self) -> str:
        """`fp32`, or `bf16` for convolutions in bfloat16 and the rest in float32."""
        return self._engine.precision

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the maps that its scores hold, of `mnbatch.inference.network_scores.MAPS`; the others are NaN."""
        return maps_of(self.model.network)

    def submit(self, crops: Sequence[UInt8Array]) -> Pending:
        """Start scoring one or more crops, each (S, S, 3) uint8; at most `in_flight` calls may be open."""
        return self._engine.submit(crops)

    def score(self, pixels: UInt8Array) -> Scores:
        """Score any number of crops, (n, S, S, 3) uint8, and wait for the result.

        Raises:
            ValueError: not uint8, or not of the size that the card states.
        """
        size = self.model.card.preparation.size
        if pixels.dtype != "uint8" or pixels.shape[1:] != (size, size, 3):
            raise ValueError(f"expected uint8 (n, {size}, {size}, 3), got {pixels.dtype} {pixels.shape}")
        waiting: list[Pending] = []
        parts: list[Scores] = []
        first = 0
        while first < len(pixels):
            if len(waiting) >= self.in_flight:
                parts.append(waiting.pop(0).result())
            step = self.minibatch
            waiting.append(self.submit(list(pixels[first : first + step])))
            first += step
        parts.extend(pending.result() for pending in waiting)
        return Scores.joined(parts, size)

    def close(self) -> None:
        """Wait for what is under way and free the workers."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pick_devices(device: str) -> list[torch.device]:
    """The torch devices for an option's text: `all`, several with commas between, or one (see `pick_device`).

    Raises:
        UsageError: not a device, not there, named twice, or GPUs of several kinds: a cell's score would depend on which
            of them was free.
    """
    if device == "all":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise UsageError("--device all: this machine offers no CUDA device to torch.", "Use --device cpu or auto.")
        device = ",".join(f"cuda:{index}" for index in range(count))
    chosen = [pick_device(name.strip()) for name in device.split(",")]
    if len(chosen) == 1:
        return chosen
    if len(set(chosen)) < len(chosen) or any(one.type != "cuda" for one in chosen):
        raise UsageError(f"--device {device}: give different GPUs.", "For example --device cuda:0,cuda:1, or all.")
    kinds = {torch.cuda.get_device_name(one) for one in chosen}
    if len(kinds) > 1:
        raise UsageError(
            f"--device {device}: these are GPUs of several kinds ({', '.join(sorted(kinds))}), whose scores differ.",
            "Name GPUs of one kind.",
        )
    return chosen


def pick_device(device: str) -> torch.device:
    """The torch device for an option's text that names one.

    Raises:
        UsageError: not a device, or not there; nothing is put in its place.
    """
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()) or device.endswith(":"):
        raise UsageError(f"Unknown device {device!r}.", "Use auto, cpu, cuda or cuda:N.")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(number or 0)
    if index >= there:
        raise UsageError(
            f"--device {device}: this machine offers {there} CUDA devices to torch.",
            "Use --device cpu or auto, or check the GPU driver.",
        )
    return torch.device("cuda", index)


Opening = Callable[[LoadedModel, torch.device, int | None, int | None, torch.dtype], Engine]
"""Makes an engine from the model, the device, `minibatch`, `threads` (None is the engine's own choice) and the type of
the convolutions."""

ENGINES: dict[str, Opening] = {
    "cpu": lambda model, _, minibatch, threads, convolutions: CpuEngine(model, minibatch, threads, convolutions),
    "cuda": DeviceEngine,
}
"""Type of the device -> what runs on it. A new engine is a module next to `engines` and a line here."""


def _engine_of(
    model: LoadedModel,
    devices: Sequence[torch.device],
    minibatch: int | None,
    threads: int | None,
    convolutions: torch.dtype,
) -> Engine:
    """One engine a device; several share one size of minibatches, the smallest that one of them chose."""

    def opened(device: torch.device, size: int | None) -> Engine:
        return ENGINES[device.type](model, device, size, share, convolutions)

    share = threads if len(devices) == 1 else max(1, (threads or available_cores()) // len(devices))
    engines: list[Engine] = []
    try:
        for device in devices:
            engines.append(opened(device, minibatch))
        least = min(engine.minibatch for engine in engines)
        for place, engine in enumerate(engines):
            if engine.minibatch > least:
                engine.close()
                engines[place] = opened(devices[place], least)
    except BaseException:
        for engine in engines:
            engine.close()
        raise
    return engines[0] if len(engines) == 1 else SeveralDevices(engines)
