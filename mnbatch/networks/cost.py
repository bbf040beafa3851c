"""What each network costs; `python -m mnbatch.networks.cost` prints the table of docs/networks.md.

FLOP are counted as torch counts them: a multiply-add is two, and only convolutions and matrix products count.
Normalisation, activations, pooling and the products with attention maps are left out: a few per cent at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.network import INPUT_SIZE, Network, StreamNetwork


@dataclass(frozen=True, slots=True)
class Cost:
    """One row of the table.

    Attributes:
        name: of the architecture.
        parameters: all that are trained.
        flop: floating-point operations a cell; a multiply-add is two.
        attention, evidence: whether there are attention maps of positions, and an exact evidence map.
        pretrained: torchvision's builder whose ImageNet weights fit, or None.
    """

    name: str
    parameters: int
    flop: int
    attention: bool
    evidence: bool
    pretrained: str | None


def count_parameters(network: nn.Module) -> int:
    """Number of trained parameters (running means of normalisation layers are none)."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: nn.Module, input_size: int = INPUT_SIZE) -> int:
    """FLOP of one cell of `input_size` pixels a side, on the network's own device.

    A network built under `torch.device("meta")` is counted without being computed. The network is left in the
    mode (training or evaluation) in which it came.
    """
    training = network.training
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    try:
        network.eval()
        with torch.no_grad(), counter:
            network(torch.zeros(1, 3, input_size, input_size, device=device))
    finally:
        network.train(training)
    return counter.get_total_flops()


def cost_of(name: str) -> Cost:
    """Count the architecture of this name."""
    with torch.device("meta"):
        network = ARCHITECTURES[name]().eval()
        attention = _has_attention(network)
    flop = count_flops(network)
    evidence = isinstance(network, StreamNetwork)
    return Cost(
        name=name,
        parameters=count_parameters(network),
        flop=flop,
        attention=attention,
        evidence=evidence,
        pretrained=network.pretrained,
    )


def _has_attention(network: Network) -> bool:
    if not isinstance(network, StreamNetwork):
        return False
    return bool(network.forward_streams(torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)).attention)


def cost_table() -> str:
    """Markdown table of all architectures, in the order of `ARCHITECTURES`."""
    columns = (
        "network",
        "parameters (M)",
        "GFLOP a cell",
        "attention maps",
        "exact evidence",
        "ImageNet weights",
    )
    rows = [f"| {' | '.join(columns)} |", "|---|---:|---:|---|---|---|"]
    for cost in map(cost_of, ARCHITECTURES):
        maps = " | ".join("yes" if has else "no" for has in (cost.attention, cost.evidence))
        source = f"torchvision `{cost.pretrained}`" if cost.pretrained else "none, from scratch"
        rows.append(f"| `{cost.name}` | {cost.parameters / 1e6:.2f} | {cost.flop / 1e9:.2f} | {maps} | {source} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(cost_table())
