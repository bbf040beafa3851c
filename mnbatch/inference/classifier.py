"""The classifier: a model on a device, from crops to probabilities and maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import torch

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import UsageError
from mnbatch.inference.engines import CpuEngine, DeviceEngine, Engine, Pending
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Scores, convolutions_for, maps_of

__all__ = ["Classifier", "Pending", "Scores", "pick_device"]


class Classifier:
    """Scores crops with one model on one device.

    Crops come as `mnbatch.imaging.preparation.prepare_crop` gives them (natural colours); the card's
    `network_input` is applied inside, in worker threads.

    Args:
        model: verified model; it is copied, so that it may serve several devices.
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".
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
        chosen = pick_device(device)
        convolutions = convolutions_for(model.network, chosen, precision)
        self._engine = ENGINES[chosen.type](model, chosen, minibatch, threads, convolutions)

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


def pick_device(device: str) -> torch.device:
    """The torch device for an option's text.

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
