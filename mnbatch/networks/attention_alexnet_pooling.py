"""attention-AlexNet with other poolings, so that a small micronucleus is not lost among many positions.

The paper says nothing of how positions are pooled, and `attention_alexnet` averages over all of them. A micronucleus
takes one or two of 169 (225 at 256 pixels), and whatever it adds is divided by their number. Both variants have the
weights of that
network, by the same names, and its exact evidence: it sums with the bias to the margin.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mnbatch.networks.attention_alexnet import AttentionAlexNet, Explained
from mnbatch.networks.attention_modules import WHOLE_VECTORS
from mnbatch.networks.network import Maps


class AttentionNormalisedAlexNet(AttentionAlexNet):
    """Attended features are averaged with the attention as weights: sum(a f) / sum(a) (Ilse et al. 2018).

    Where attention is high at few positions only, these make up the whole average.
    """

    def _streams(self, layer5: Tensor, layer6: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        attended5, attended6, map5, map6 = super()._streams(layer5, layer6, last)
        # The mean over positions follows: mean(a f / mean(a)) = sum(a f) / sum(a).
        return attended5 / _mean(map5), attended6 / _mean(map6), map5, map6


class AttentionLogMeanExpAlexNet(AttentionAlexNet):
    """The margin is the bias and the log-mean-exp of the positions' own margins (Pinheiro & Collobert 2015).

    With z_i the margin that position i would give alone (its evidence times their number) and r `SHARPNESS`,

        margin = bias + log(mean(exp(r z_i))) / r

    which is the mean for small r and the maximum for large r. Evidence: what the mean gives, and what the
    log-mean-exp adds to it shared by softmax(r z).
    """

    SHARPNESS = 0.05
    """Positions' margins lie within some tens of each other in trained weights of `attention-alexnet`."""

    def explain_features(self, layer5: Tensor, layer6: Tensor, layer7: Tensor) -> Explained:
        """See `AttentionAlexNet`; both logits are half the margin, with either sign."""
        mean = super().explain_features(layer5, layer6, layer7)
        number = mean.evidence[0].numel()
        sharpened = mean.evidence.flatten(1) * (number * self.SHARPNESS)
        # Whole vectors, so that a cell's bits do not depend on its place in the minibatch (see `sigmoid`).
        padded = F.pad(sharpened, (0, -number % WHOLE_VECTORS), value=-math.inf)
        top = padded.amax(dim=1, keepdim=True)
        parts = torch.exp(padded - top)
        total = parts.sum(dim=1, keepdim=True)
        pooled = (top + torch.log(total / number)) / self.SHARPNESS
        added = pooled - mean.evidence.flatten(1).sum(dim=1, keepdim=True)
        shares = (parts / total)[:, :number].reshape(mean.evidence.shape)
        margin = pooled + mean.bias
        return mean._replace(
            logits=torch.cat([-0.5 * margin, 0.5 * margin], dim=1),
            evidence=mean.evidence + shares * added[:, :, None],
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised input -> (B, 2) logits; in training the exponentials are never in bfloat16."""
        features = self.convolutions(x)
        if features[0].dtype != torch.bfloat16:
            return self.explain_features(*features).logits
        with torch.autocast(x.device.type, enabled=False):
            return self.explain_features(*(feature.float() for feature in features)).logits

    def forward_ratios(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `StreamNetwork`; the counter sees the averages."""
        found = self.explain(x)
        return found.logits, found.ratios

    def maps(self, x: Tensor) -> Maps:
        """See `StreamNetwork`; all evidence is given on the grid of the first stream, which it is exact on."""
        found = self.explain(x)
        none = {stream.name: found.evidence.new_zeros(found.evidence.shape) for stream in self.streams[1:]}
        attention = {"conv3": found.attention5, "conv4": found.attention6}
        last = none[self.streams[2].name][:, : found.evidence.shape[1] // 2, : found.evidence.shape[2] // 2]
        evidence = {self.streams[0].name: found.evidence, **none, self.streams[2].name: last}
        return Maps(found.logits, attention, evidence, found.bias, found.ratios)


def _mean(attention: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 1, 1, 1)."""
    return attention.mean(dim=(2, 3), keepdim=True)
