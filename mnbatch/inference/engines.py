"""What runs minibatches: on the cores of a processor (`mnbatch.inference.cpu_engine`) or on a GPU
(`mnbatch.inference.device_engine`).

Both take crops as `mnbatch.imaging.preparation.prepare_crop` gives them, apply the card's `network_input`, fill the
minibatch up to its fixed size and give back the scores of the crops that came in. Every minibatch has the same size
and no kernel mixes cells, so a score depends on neither neighbours nor place.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch

from mnbatch.assay.cells import UInt8Array
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Scores, network_of
from mnbatch.networks.network import Network


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


def own_network(model: LoadedModel, device: torch.device) -> Network:
    """A copy of a model's network for an engine, on its device, channels-last; raises ModelError as `network_of`."""
    network = copy.deepcopy(network_of(model)).eval().requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)
