"""Convolutions with few multiplications: a tile of outputs at a time (Winograd 1980; Lavin and Gray 2016).

m outputs of a filter with r taps are found with m + r - 1 multiplications in place of m r: input and filter are taken
for polynomials, evaluated at that many points (Toom 1963, Cook 1966), multiplied point by point, and the outputs read
off from the products. In two dimensions, 4 x 4 outputs of a 3 x 3 kernel take 36 products a pair of channels in place
of 144, and of a 5 x 5 kernel 64 in place of 400. What the points cost in accuracy grows with their number; at six and
eight of them the sums differ from those of a direct convolution by some 1e-5 of the largest (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

TILE = 4
"""Outputs of a tile, along each side."""

POINTS = tuple(Fraction(point) for point in ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))
"""Where polynomials are evaluated, besides at infinity; as many as are needed, from the left. Small ones: large powers
would cost accuracy."""

WIDEST = len(POINTS) + 2 - TILE
"""Taps of the widest filter that the points serve."""

FEWEST_TILES = 9
"""In a picture: with fewer, reading the transformed kernels takes longer than is won (docs/benchmarks.md)."""


def transforms(outputs: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """What turns m outputs of a filter with r taps into n = m + r - 1 products.

    Args:
        outputs: m.
        taps: r.

    Returns:
        Three matrices of float64, D (n, n), G (n, r) and A (m, n): the outputs are A ((G g) * (D d)) for the filter g
        (r,) and the input d (n,), output i being the sum of g[k] d[i + k].

    Raises:
        ValueError: more points are needed than `POINTS` has.
    """
    points = POINTS[: outputs + taps - 2]
    if len(points) < outputs + taps - 2:
        raise ValueError(f"{outputs} outputs of {taps} taps need {outputs + taps - 2} points, of {len(POINTS)}")
    data, filters, results = [], [], []
    for place, point in enumerate(points):
        others = points[:place] + points[place + 1 :]
        numerator = _with_roots(others)
        denominator = sum(c * point**power for power, c in enumerate(numerator))
        data.append([*numerator, Fraction(0)])
        filters.append([point**power / denominator for power in range(taps)])
        results.append([point**power for power in range(outputs)])
    data.append(_with_roots(points))
    filters.append([Fraction(power == taps - 1) for power in range(taps)])
    results.append([Fraction(power == outputs - 1) for power in range(outputs)])
    return _matrix(data), _matrix(filters), _matrix(results).T.contiguous()


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        found = [up - root * here for up, here in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


def _matrix(rows: list[list[Fraction]]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


class WinogradConvolution(nn.Module):
    """A convolution of stride 1 for inference in float32, a cell at a time.

    Every cell is computed by the same operations on the same shapes, wherever it lies in its minibatch and whatever
    lies beside it.

    Args:
        convolution: a square kernel of at most `WIDEST` taps a side, whose weights it takes.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.direct = convolution
        self.kernel, self.padding = int(convolution.kernel_size[0]), [int(side) for side in convolution.padding]
        self.side = TILE + self.kernel - 1
        data, filters, results = transforms(TILE, self.kernel)
        weight = convolution.weight.detach().double()
        points = torch.einsum("ai,bj,ocij->abco", filters, filters, weight)
        self.weight = _constant(points.flatten(end_dim=1))
        # Rows of a picture and its columns at once: a product with one matrix is faster than two with small ones.
        self.data = _constant(torch.kron(data, data))
        self.results = _constant(torch.kron(results, results))
        # What is added to the product at point (1, 1) is added to every output of the tile.
        self.bias_at = POINTS.index(Fraction(1)) * (self.side + 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H', W'), channels-last in memory."""
        height, width = (
            side + 2 * padding - self.kernel + 1 for side, padding in zip(x.shape[2:], self.padding, strict=True)
        )
        down, across = -(-height // TILE), -(-width // TILE)
        if down * across < FEWEST_TILES:
            return self.direct(x)  # type: ignore[no-any-return]
        cells = x.permute(0, 2, 3, 1)
        memory = _Memory(self, cells, down, across)
        made = x.new_empty(len(x), height, width, self.weight.shape[2])
        for cell, target in zip(cells, made, strict=True):
            target.copy_(self._cell(cell, memory)[:height, :width])
        return made.permute(0, 3, 1, 2)

    def _cell(self, cell: Tensor, memory: _Memory) -> Tensor:
        """(H, W, C) -> (rows of all tiles, columns of all tiles, D)."""
        memory.inside.copy_(cell)
        memory.gathered.copy_(memory.tiles)
        points = len(self.data)
        torch.mm(self.data, memory.gathered.view(points, -1), out=memory.seen.view(points, -1))
        torch.bmm(memory.seen, self.weight, out=memory.products)
        if self.direct.bias is not None:
            memory.products[self.bias_at] += self.direct.bias
        torch.mm(self.results, memory.products.view(points, -1), out=memory.outputs.view(TILE**2, -1))
        rows, columns = memory.down * TILE, memory.across * TILE
        return memory.outputs.permute(2, 0, 3, 1, 4).reshape(rows, columns, -1)


class _Memory:
    """What one cell after the other is computed in: fresh pages for each would take a third of the time.

    Args:
        cells: (B, H, W, C), of which any one fits.
    """

    def __init__(self, layer: WinogradConvolution, cells: Tensor, down: int, across: int) -> None:
        _, height, width, channels = cells.shape
        side, (above, left) = layer.side, layer.padding
        self.down, self.across = down, across
        padded = cells.new_zeros(TILE * down + layer.kernel - 1, TILE * across + layer.kernel - 1, channels)
        self.inside = padded[above : above + height, left : left + width]
        row, column, _ = padded.stride()
        self.tiles = padded.as_strided(
            (side, side, down, across, channels), (row, column, TILE * row, TILE * column, 1)
        )
        """Views of the padded cell, overlapping."""
        points, tiles = side**2, down * across
        self.gathered = cells.new_empty(self.tiles.shape)
        self.seen = cells.new_empty(points, tiles, channels)
        self.products = cells.new_empty(points, tiles, layer.weight.shape[2])
        self.outputs = cells.new_empty(TILE, TILE, down, across, layer.weight.shape[2])


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.float().contiguous(), requires_grad=False)
