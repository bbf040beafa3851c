"""A model as one ONNX file, for programs without torch; checked against torch before it is put in place."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnbatch.errors import ModelError, UsageError
from mnbatch.files import replacing, storage_errors, sweep_folder, write_atomically
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.networks.network import StreamNetwork

if TYPE_CHECKING:
    from mnbatch.assay.cells import UInt8Array

LARGEST_DIFFERENCE = 1e-4
"""Between torch and onnxruntime: of p_mn, and of the logits / max(1, the largest of them)."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18
_BATCHES = (1, 3)
Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Checked:
    """Largest differences between torch and the exported file.

    Attributes:
        cells: that both were asked about, in minibatches of several sizes.
        p_mn: absolute; logits: relative to the largest logit where that is above 1.
    """

    cells: int
    p_mn: float
    logits: float


class Exported(nn.Module):
    """Network with its normalisation before it and its probability after it.

    Input `pixels`: float32 (cells, 3, size, size), 0..255, R, G, B, as `mnbatch.imaging.preparation.network_input`
    gives them. Outputs: `logits` (cells, 2) and `p_mn` (cells,); of a counting model also `ratios` (cells, 2).
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = copy.deepcopy(model.network).eval().requires_grad_(False)
        mean, std = (
            torch.tensor(v).view(1, 3, 1, 1) for v in (model.card.normalisation.mean, model.card.normalisation.std)
        )
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)
        self.temperature = model.card.temperature
        self.counts = isinstance(self.network, StreamNetwork) and self.network.counter is not None

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` gives."""
        return ["logits", "p_mn", *(["ratios"] if self.counts else [])]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See above."""
        x = pixels * self.scale + self.shift
        ratios = None
        if self.counts:
            logits, ratios = self.network.forward_ratios(x)  # type: ignore[operator]
        else:
            logits = self.network(x)
        p_mn = torch.sigmoid((logits[:, 1] - logits[:, 0]) / self.temperature)
        return (logits, p_mn) if ratios is None else (logits, p_mn, torch.sigmoid(ratios))


def need_onnx() -> None:
    """Raise a UsageError where the packages of the extra `onnx` are absent."""
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"The export to ONNX needs {', '.join(absent)}, which is not installed here.",
            "Install it: pip install 'mnbatch[onnx]'.",
        )


def export_onnx(model: LoadedModel, file: Path, cells: UInt8Array) -> Checked:
    """Write `file` and, next to it, its card (`.json`), after torch and onnxruntime agreed on `cells`.

    Args:
        cells: network inputs (n, size, size, 3), uint8, at least four.

    Raises:
        UsageError: the packages of the extra `onnx` are absent.
        ModelError: the network cannot be exported, or the file gives other numbers than torch; nothing is written then.
        StorageError: the place cannot be written.
    """
    need_onnx()
    whole = Exported(model).eval()
    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        sweep_folder(file.parent)
        with replacing(file, suffix=".onnx") as staged:
            _write(whole, model, staged)
            checked = _checked(whole, model, staged, cells)
            card = _card(model, whole, staged, checked)
    write_atomically(file.with_suffix(".json"), card.encode())
    return checked


def _write(whole: Exported, model: LoadedModel, staged: Path) -> None:
    size = model.card.preparation.size
    example = torch.zeros(2, 3, size, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter, about itself
            torch.onnx.export(
                whole,
                (example,),
                staged,
                input_names=["pixels"],
                output_names=whole.outputs,
                dynamic_shapes={"pixels": {0: torch.export.Dim("cells")}},
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ModelError(
            f"torch cannot export {model.card.architecture}: {' '.join(str(error).split())[:300]}",
            "Use another model, or another version of torch.",
        ) from error


def _checked(whole: Exported, model: LoadedModel, staged: Path, cells: UInt8Array) -> Checked:
    pixels = np.ascontiguousarray(cells.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        wanted = [values.numpy() for values in whole(torch.from_numpy(pixels))]
    run = _session(staged)
    p_mn = logits = 0.0
    for size in (*_BATCHES, len(pixels)):
        given = [
            np.concatenate(parts)
            for parts in zip(*(run(pixels[i : i + size]) for i in range(0, len(pixels), size)), strict=True)
        ]
        scale = max(1.0, float(np.abs(wanted[0]).max()))
        logits = max(logits, _worst(wanted[0], given[0]) / scale)
        p_mn = max(p_mn, *(_worst(one, other) for one, other in zip(wanted[1:], given[1:], strict=True)))
    if not max(p_mn, logits) <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"The exported {model.card.architecture} gives other numbers than torch (p_mn differs by {p_mn:.2g}, "
            f"logits by {logits:.2g}; {LARGEST_DIFFERENCE:g} is allowed). Nothing was written.",
            "Use another version of torch, onnx or onnxruntime, or report this.",
        )
    return Checked(len(pixels), p_mn, logits)


def _worst(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels})


def _one_look(model: LoadedModel) -> str:
    if model.card.second_look is None:
        return ""
    return (
        "; of one look: mnbatch scores cells from card.second_look.from_score on again in card.second_look.views "
        "(turned counter-clockwise, zoomed about the middle) and takes the mean of the logits of all looks"
    )


def _card(model: LoadedModel, whole: Exported, staged: Path, checked: Checked) -> str:
    import onnxruntime

    size = model.card.preparation.size
    content = {
        "onnx_sha256": sha256(staged.read_bytes()).hexdigest(),
        "model_digest": model.digest,
        "opset": OPSET,
        "input": {
            "pixels": f"float32 (cells, 3, {size}, {size}), 0..255, R G B: a crop prepared as card.preparation says, "
            "its polarity applied; card.normalisation is inside the graph"
        },
        "outputs": {
            "logits": "float32 (cells, 2): no MN, MN",
            "p_mn": "float32 (cells,): card.temperature applied; called MN at card.threshold or above"
            + _one_look(model),
            **(
                {"ratios": "float32 (cells, 2): P(2 or more MN | 1 or more), P(3 or more | 2 or more)"}
                if whole.counts
                else {}
            ),
        },
        "checked_against_torch": {
            "cells": checked.cells,
            "largest_difference_p_mn": checked.p_mn,
            "largest_difference_logits": checked.logits,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "card": model.card.model_dump(mode="json"),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
