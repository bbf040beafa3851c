"""comparison.csv, .md, .svg and .png: what the paper's Tables 1 to 6 and Figure 5 hold, for this data."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mnbatch.comparison.comparison_run import Comparison
from mnbatch.comparison.outcomes import Row, grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
import os
from collections.abc import Iterable

from mnbatch.comparison.comparison_settings import METHOD, Settings
from mnbatch.comparison.measurement import Outcome
from mnbatch.comparison.outcomes import EXPLANATION, Spread, difference, find_row, judged
from mnbatch.comparison.protocols import PROTOCOLS
from mnbatch.csvfile import Value, csv_bytes
from mnbatch.csvfile import shown as one_line

# comparison.svg and comparison.png: figures with their spread, and time against accuracy (the paper's Figure 5).


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


# comparison.csv and comparison.md: what the paper's Tables 1 to 6 and Figure 5 hold, for this data.


FIGURES = {"AP": "average_precision", "F1": "f1", "AUC": "auc"}
STARTS = {"weights": "from backbone weights", "scratch": "from scratch"}
CONFUSION = ("true_positive", "false_negative", "true_negative", "false_positive")
_NUMBER = ("", *"+-0123456789")
"""What a number begins with; an empty field is one that is absent."""
_PLAIN = ("status", "reason", "started_from", "parameters", "flop", "best_epoch")
_TIMES = ("train_seconds", "trained_cells", "test_seconds", "tested_cells")
_FIGURES = (*FIGURES.values(), "sensitivity", "specificity", "brier")


def comparison_csv(found: Comparison) -> bytes:
    """One line a run of the table, failed ones too; an empty field where there is no number."""
    rows = [_csv_row(outcome, found.settings) for outcome in found.outcomes]
    columns = list(rows[0]) if rows else ["network"]
    return csv_bytes(columns, ([row[name] for name in columns] for row in rows), text=one_line, mark=True)


def _csv_row(outcome: Outcome, settings: Settings) -> dict[str, Value]:
    row: dict[str, Value] = {
        "network": outcome.network,
        "loss": outcome.loss,
        "start": outcome.start,
        "protocol": outcome.protocol,
        "seed": outcome.seed,
        "reduced": settings.reduced,
        **{name: getattr(outcome, name) for name in _PLAIN},
    }
    at_prevalence = [f"{name}_at_prevalence" for name in ("average_precision", "f1")]
    for name in (*_FIGURES, *(at_prevalence if settings.prevalence is not None else ())):
        figure = outcome.figures.get(name)
        row[name] = _rounded(figure.value if figure else None)
        row[f"{name}_low"] = _rounded(figure.low if figure else None)
        row[f"{name}_high"] = _rounded(figure.high if figure else None)
    row |= {name: outcome.confusion.get(name, "") for name in CONFUSION}
    for part in ("training", "validation", "test"):
        row[f"{part}_mn"], row[f"{part}_nomn"] = outcome.cells.get(part, ("", ""))
    row |= {name: _rounded(getattr(outcome, name), 3) for name in _TIMES}
    return row | {"epochs": settings.recipe.epochs, "device": outcome.device, "torch": outcome.torch}


def _rounded(value: float | None, digits: int = 5) -> Value:
    return "" if value is None else round(value, digits)


def comparison_markdown(found: Comparison) -> str:
    """The whole page; a reduced run says so at every table."""
    rows = grouped(found.outcomes)
    mark = " (reduced)" if found.settings.reduced else ""
    parts = [f"# Comparison of networks{mark}", *_about(found), *_parts_table(found, mark)]
    parts += [*_method_table(found, rows, mark), *_all_tables(found, rows, mark)]
    parts += [*_confusion_table(rows, mark), *_time_table(rows, mark)]
    parts += [*_claims_table(rows, mark), *_failures(found, mark)]
    return "\n\n".join(parts) + "\n"


def _about(found: Comparison) -> Iterable[str]:
    settings, data, recipe = found.settings, found.data, found.settings.recipe
    if settings.reduced:
        yield (
            f"**Reduced run: {settings.reduced}.** Networks are far from trained; their order here says little about "
            "their order when they are."
        )
    if len(found.outcomes) < found.planned:
        yield f"**Not finished: {len(found.outcomes)} of {found.planned} runs are here.**"
    with_mn = int(data.labels.sum())
    split = f"by donor or slide ({data.groups})" if not data.warning else "at random"
    said = " ".join(filter(None, (data.note, data.warning)))
    lines = [
        f"Data: {len(data.labels)} cells, {with_mn} with micronuclei ({100 * with_mn / len(data.labels):.1f} %), "
        f"split 6:2:2 {split}; the test part is neither augmented nor cut. {said}".strip(),
        f"Training: {recipe.epochs} epochs of SGD, rate {recipe.learning_rate:g} divided by 10 after each third, "
        f"momentum {recipe.momentum:g}, minibatch {recipe.minibatch}, focal loss (gamma {recipe.gamma:g}) unless "
        f"marked, {'bfloat16 autocast' if recipe.bf16 else 'float32'}; tested in float32; checkpoint: validation AUC.",
        f"Seeds: {settings.seeds}. Calls (F1, confusion) at p >= 0.5. With one seed brackets hold 95 % intervals of "
        "the test part, else the smallest and largest value over the seeds; of differences always 95 % intervals "
        "(one seed: paired bootstrap; several: Student's). Only systems with the same start compare.",
        f"Machine: {', '.join(sorted({outcome.device for outcome in found.outcomes})) or settings.device}; "
        f"{os.cpu_count()} cores; torch {', '.join(sorted({outcome.torch for outcome in found.outcomes}))}.",
    ]
    intervals = sorted({outcome.interval for outcome in found.outcomes if outcome.interval})
    yield "\n".join(f"* {line}" for line in [*lines, *(f"Intervals: {interval}." for interval in intervals)])


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers to the right, of words to the left."""
    cells = [[str(value) for value in row] for row in rows]
    numbers = [all(row[i][:1] in _NUMBER for row in cells) for i in range(len(header))]
    rule = "".join("---:|" if is_number else "---|" for is_number in numbers)
    return "\n".join([_line(header), f"|{rule}", *map(_line, cells)])


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def shown(spread: Spread | None, signed: bool = False) -> str:
    """`0.932 [0.901, 0.955]`; empty where there is none."""
    if spread is None:
        return ""
    sign = "+" if signed else ""
    if spread.low is None or spread.high is None:
        return f"{spread.mean:{sign}.3f}"
    return f"{spread.mean:{sign}.3f} [{spread.low:{sign}.3f}, {spread.high:{sign}.3f}]"


def _parts_table(found: Comparison, mark: str) -> Iterable[str]:
    yield f"## Cells of each part{mark} (the paper's Tables 1 and 2)"
    counts = {(o.protocol, o.seed): o.cells for o in found.outcomes if o.cells}
    header = ("protocol", "seed", "training: MN", "no MN", "validation: MN", "no MN", "test: MN", "no MN")
    yield table(
        header,
        [
            (protocol.upper(), seed, *(n for part in ("training", "validation", "test") for n in cells[part]))
            for (protocol, seed), cells in sorted(counts.items())
        ],
    )
    yield "\n".join(f"* {name.upper()}: {words}." for name, words in PROTOCOLS.items())


def _method_table(found: Comparison, rows: Sequence[Row], mark: str) -> Iterable[str]:
    yield f"## The method under both protocols{mark} (the paper's Table 3)"
    own = [row for row in rows if row.name == METHOD]
    names = _shown_figures(found.settings)
    header = ("protocol", "start", *names)
    yield table(
        header, [(r.protocol.upper(), STARTS[r.start], *(shown(r.figure(f)) for f in names.values())) for r in own]
    )


def _shown_figures(settings: Settings) -> dict[str, str]:
    if settings.prevalence is None:
        return FIGURES
    return FIGURES | {f"AP at {100 * settings.prevalence:g} %": "average_precision_at_prevalence"}


def _all_tables(found: Comparison, rows: Sequence[Row], mark: str) -> Iterable[str]:
    names = _shown_figures(found.settings)
    for protocol in found.settings.protocols:
        for start, words in STARTS.items():
            chosen = [row for row in rows if (row.protocol, row.start) == (protocol, start)]
            if not chosen:
                continue
            yield f"## All systems, {protocol.upper()}, {words}{mark} (the paper's Table 6)"
            header = ("system", "parameters (M)", "GFLOP a cell", *names, "AUC - method's", "seeds")
            yield table(header, [_system(row, rows, names) for row in chosen])


def _system(row: Row, rows: Sequence[Row], names: dict[str, str]) -> tuple[object, ...]:
    parameters, gflop = row.mean("parameters") / 1e6, row.mean("flop") / 1e9
    figures = (shown(row.figure(name)) for name in names.values())
    against = _against_method(row, rows)
    return (f"`{row.name}`", f"{parameters:.2f}", f"{gflop:.2f}", *figures, against, len(row.outcomes))


def _against_method(row: Row, rows: Sequence[Row]) -> str:
    if row.name == METHOD:
        return ""
    return shown(difference(row, find_row(rows, METHOD, row.start, row.protocol), "auc"), signed=True)


def _confusion_table(rows: Sequence[Row], mark: str) -> Iterable[str]:
    yield f"## Confusion matrices{mark} (the paper's Tables 4 and 5), summed over the seeds' test parts"
    header = ("system", "start", "protocol", "MN called MN", "MN called no MN", "no MN called no MN", "no MN called MN")
    yield table(
        header,
        [
            (f"`{row.name}`", STARTS[row.start], row.protocol.upper(), *(row.confusion(name) for name in CONFUSION))
            for row in sorted(rows, key=lambda row: row.name != METHOD)
        ],
    )


def _time_table(rows: Sequence[Row], mark: str) -> Iterable[str]:
    yield f"## Time{mark} (the paper's Figure 5)"
    header = (
        "system",
        "start",
        "protocol",
        "training (s)",
        "testing (s)",
        "training (ms a cell)",
        "testing (ms a cell)",
    )
    yield table(
        header,
        [
            (
                f"`{row.name}`",
                STARTS[row.start],
                row.protocol.upper(),
                f"{row.mean('train_seconds'):.1f}",
                f"{row.mean('test_seconds'):.1f}",
                *(f"{value:.1f}" for value in row.milliseconds),
            )
            for row in rows
        ],
    )


def _claims_table(rows: Sequence[Row], mark: str) -> Iterable[str]:
    yield f"## What the paper says, and what was found here{mark}"
    yield EXPLANATION
    header = ("statement", "start", "protocol", "verdict", "found")
    yield table(
        header,
        [(f.claim.words, STARTS[f.start], f.protocol.upper(), f.verdict, f.shown) for f in judged(rows, shown)],
    )


def _failures(found: Comparison, mark: str) -> Iterable[str]:
    failed = [outcome for outcome in found.outcomes if outcome.status == "failed"]
    if failed:
        yield f"## Runs that failed{mark}"
        yield table(("run", "reason"), [(f"`{outcome.cell.key}`", outcome.reason) for outcome in failed])
