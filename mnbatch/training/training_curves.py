"""How a training went: history.csv, and curves.svg with the loss and the validation AUC of every epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mnbatch.csvfile import Value, csv_bytes
from mnbatch.training.training_state import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLOURS = ("#1f5f99", "#b25d12", "#3f7d3f", "#7a4d9e", "#8a8a2b", "#444444")
MARKERS = "os^Dvx"


def history_files(history: Sequence[Epoch], best: Epoch, epochs: int, title: str) -> dict[str, bytes]:
    """File name -> content.

    Args:
        history: epochs so far, at least one; best: the one whose weights are the model.
        epochs: of the whole recipe.
        title: of the figure.
    """
    return {"history.csv": _table(history), "curves.svg": _figure(history, best, epochs, title)}


def _table(history: Sequence[Epoch]) -> bytes:
    """A row an epoch: number, loss, one AUC for each validation set, their mean, seconds."""
    sets = list(history[0].aucs)
    columns = ["epoch", "loss", *(f"auc_{name}" for name in sets), "auc_mean", "seconds"]
    rows: list[list[Value]] = []
    for epoch in history:
        aucs = [f"{epoch.aucs[name]:.6g}" for name in sets]
        rows.append([epoch.number, f"{epoch.loss:.6g}", *aucs, f"{epoch.score:.6g}", f"{epoch.seconds:.1f}"])
    return csv_bytes(columns, rows, end=b"\r\n")


def _figure(history: Sequence[Epoch], best: Epoch, epochs: int, title: str) -> bytes:
    with mpl.rc_context({"svg.hashsalt": "mnbatch", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{title}: {len(history)} of {epochs} epochs")
        loss, auc = figure.subplots(1, 2)
        numbers = [epoch.number for epoch in history]
        loss.plot(numbers, [epoch.loss for epoch in history], "o-", color=COLOURS[0], markersize=3, linewidth=1.2)
        _frame(loss, "training loss", epochs)
        _draw_aucs(auc, history)
        auc.axvline(best.number, color="#999999", linestyle=":", label=f"kept: epoch {best.number}")
        _frame(auc, "validation AUC", epochs)
        auc.legend(fontsize=7)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()


def _draw_aucs(axes: Axes, history: Sequence[Epoch]) -> None:
    """One line a validation set; their mean, by which the epoch is chosen, where there are several."""
    numbers = [epoch.number for epoch in history]
    for place, name in enumerate(history[0].aucs):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        values = [epoch.aucs[name] for epoch in history]
        axes.plot(numbers, values, color=colour, marker=marker, markersize=3, linewidth=1.2, label=name)
    if len(history[0].aucs) > 1:
        axes.plot(numbers, [epoch.score for epoch in history], "k--", linewidth=1, label="mean")


def _frame(axes: Axes, label: str, epochs: int) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.set_xlim(0.5, max(epochs, 2) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(linewidth=0.3)
