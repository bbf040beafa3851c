"""What pages say of the number of micronuclei: frequency and distribution, or that there is none."""

from __future__ import annotations

from dataclasses import dataclass

from mnbatch.assay.counting import CLASSES, MnFrequency
from mnbatch.report import words


@dataclass(frozen=True, slots=True)
class MicronucleiView:
    """MN frequency and distribution of a slide, a donor or a batch.

    Attributes:
        rate, interval, total: "" where there are none; `reason` says why then.
        classes: (number of micronuclei, cells, share of the cells).
        spread: dispersion index and u in words; "" where they are not defined.
    """

    reason: str
    rate: str = ""
    interval: str = ""
    total: str = ""
    classes: tuple[tuple[str, int, str], ...] = ()
    spread: str = ""


def micronuclei_view(mn: MnFrequency | None, reason: str) -> MicronucleiView | None:
    """The view of a slide's or donor's counts; None for one that failed, whose page says why already."""
    if mn is None:
        return MicronucleiView(reason) if reason else None
    return MicronucleiView(
        reason="",
        rate=words.rate(mn.per_1000),
        interval=f"{words.rate(mn.ci_low)} to {words.rate(mn.ci_high)}",
        total=f"{words.plural(mn.micronuclei, 'micronucleus', 'micronuclei')} in {words.plural(mn.bn_cells, 'cell')}",
        classes=tuple(
            (name, number, words.percent(number, mn.bn_cells)) for name, number in zip(CLASSES, mn.cells, strict=True)
        ),
        spread=_spread(mn),
    )


def short_text(mn: MnFrequency | None, reason: str) -> str:
    """For a list of facts: the frequency, or "not available"."""
    if mn is not None:
        return words.rate(mn.per_1000)
    return "not available" if reason else words.NOT_KNOWN


def _spread(mn: MnFrequency) -> str:
    index, u = mn.distribution.dispersion_index, mn.distribution.u()
    if index is None or u is None:
        return ""
    return f"dispersion index {index:.2f}, u {u:.2f}: {mn.distribution.verdict}"
