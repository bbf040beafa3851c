"""Networks by name: one architecture a file, a literal dict, nothing found by magic."""

from __future__ import annotations

from collections.abc import Callable

from mnbatch.networks.attention_alexnet import AttentionAlexNet

ARCHITECTURES: dict[str, Callable[[], AttentionAlexNet]] = {
    "attention-alexnet": AttentionAlexNet,
}
