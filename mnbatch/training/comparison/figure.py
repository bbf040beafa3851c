"""comparison.svg and comparison.png: figures with their spread, and time against accuracy (the paper's Figure 5)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mnbatch.training.comparison.grouping import Row, grouped
from mnbatch.training.comparison.run import Comparison
from mnbatch.training.comparison.tables import FIGURES, STARTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"tad": "#b25d12", "tvad": "#1f5f99"}
MARKERS = {"weights": "o", "scratch": "s"}


def comparison_figure(found: Comparison) -> dict[str, bytes]:
    """File name -> content; nothing where no run is finished."""
    rows = grouped(found.outcomes)
    if not rows:
        return {}
    names = list(dict.fromkeys(f"{row.name}, {STARTS[row.start].removeprefix('from ')}" for row in rows))
    with mpl.rc_context({"svg.hashsalt": "mnbatch", "font.size": 8, "svg.fonttype": "none"}):
        figure = Figure(figsize=(11, 3.2 + 0.26 * len(names) + 1.5), layout="constrained")
        FigureCanvasAgg(figure)
        title = "Comparison of networks"
        if found.settings.reduced:
            title += f" - REDUCED: {found.settings.reduced}"
        figure.suptitle(title)
        _draw(figure, rows, names)
        return {f"comparison.{kind}": _saved(figure, kind) for kind in ("svg", "png")}


def _draw(figure: Figure, rows: Sequence[Row], names: Sequence[str]) -> None:
    grid = figure.add_gridspec(2, 6, height_ratios=(0.26 * len(names) + 0.6, 3.2))
    for column, (word, name) in enumerate(FIGURES.items()):
        axes = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        _draw_figure(axes, rows, names, word, name, labelled=column == 0)
    for column, (place, words) in enumerate(((0, "training, ms a cell"), (1, "testing, ms a cell"))):
        _draw_time(figure.add_subplot(grid[1, 3 * column : 3 * column + 3]), rows, place, words)


def _draw_figure(axes: Axes, rows: Sequence[Row], names: Sequence[str], word: str, name: str, labelled: bool) -> None:
    for row in rows:
        spread = row.figure(name)
        if spread is None:
            continue
        height = names.index(f"{row.name}, {STARTS[row.start].removeprefix('from ')}")
        height_drawn = height + (0.15 if row.protocol == "tvad" else -0.15)
        colour = COLOURS[row.protocol]
        if spread.low is not None and spread.high is not None:
            axes.plot([spread.low, spread.high], [height_drawn] * 2, color=colour, linewidth=1)
        axes.plot(spread.mean, height_drawn, MARKERS[row.start], color=colour, markersize=4)
    axes.set_yticks(range(len(names)), names if labelled else [""] * len(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(word)
    axes.grid(axis="x", linewidth=0.3)


def _draw_time(axes: Axes, rows: Sequence[Row], place: int, words: str) -> None:
    for row in rows:
        spread = row.figure("auc")
        if spread is None:
            continue
        x = row.milliseconds[place]
        axes.plot(x, spread.mean, MARKERS[row.start], color=COLOURS[row.protocol], markersize=4)
        if row.protocol == rows[-1].protocol:
            axes.annotate(row.name, (x, spread.mean), fontsize=6, xytext=(3, 2), textcoords="offset points")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.2)
    axes.set_xlabel(words)
    axes.set_ylabel("AUC")
    axes.grid(linewidth=0.3)
    for protocol in dict.fromkeys(row.protocol for row in rows):
        axes.plot([], [], "o", color=COLOURS[protocol], label=protocol.upper())
    for start in dict.fromkeys(row.start for row in rows):
        axes.plot([], [], MARKERS[start], color="grey", label=STARTS[start])
    axes.legend(fontsize=6)


def _saved(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    # Without a date the same table gives the same bytes.
    figure.savefig(stream, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return stream.getvalue()
