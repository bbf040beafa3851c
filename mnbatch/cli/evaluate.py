"""`mnbatch evaluate`: a model and labelled crops in, figures with intervals out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnbatch.cli.page_questions import Names, NuclearChannel, Pages, Planes, Time, page_options

if TYPE_CHECKING:
    from mnbatch.evaluation.evaluation_records import Evaluation


def evaluate(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or path of a model directory.")],
    data: Annotated[
        Path,
        typer.Argument(help="Folder with mn/ and nomn/, or a CSV: file, label or mn_count, slide, donor, any columns."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for metrics.csv, metrics.json, scores.csv and index.html."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", help="slide, donor or another column: every group by itself.")
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of cells with MN for which AP, precision and F1 are given again."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Second model on the same cells: DeLong's and McNemar's tests.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Masks of micronuclei (a folder, or a CSV): do the maps point at them?"),
    ] = None,
    stain: Annotated[
        Literal["auto", "fluorescence", "giemsa"],
        typer.Option("--stain", help="auto recognises each slide's stain, as in a run."),
    ] = "auto",
    nuclear_channel: NuclearChannel = None,
    planes: Planes = None,
    time: Time = None,
    pages: Pages = None,
    names: Names = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of the scoring; 0: all cores.")] = 0,
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=0, help="Resamples for the intervals; 0: none.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resamples.")] = 1,
) -> None:
    """Measure a model on labelled crops, with intervals."""
    from mnbatch.evaluation.evaluation_page import render_page
    from mnbatch.evaluation.evaluation_records import Request
    from mnbatch.evaluation.evaluation_run import evaluate as evaluate_model
    from mnbatch.evaluation.evaluation_tables import metrics_csv, metrics_json, scores_csv
    from mnbatch.files import write_files

    request = Request(
        model=model,
        data=data,
        group_by=group_by,
        prevalence=prevalence,
        against=against,
        masks=masks,
        stain=None if stain == "auto" else stain,
        device=device,
        threads=threads or None,
        bootstrap=bootstrap,
        seed=seed,
        options=page_options(nuclear_channel, planes, time, pages, names),
    )
    found = evaluate_model(request, lambda line: typer.echo(line, err=True))
    if out is not None:
        tables = {
            "metrics.csv": metrics_csv(found),
            "metrics.json": metrics_json(found),
            "scores.csv": scores_csv(found),
        }
        write_files(out, {**tables, "index.html": render_page(found)})
    for warning in found.warnings:
        typer.echo(f"Note: {warning}", err=True)
    for file, why in found.not_scored[:10]:
        typer.echo(f"Not scored: {file if file.isprintable() else repr(file)}: {why}", err=True)
    typer.echo(summary_line(found))


def summary_line(found: Evaluation) -> str:
    """The summary of an evaluation for stdout."""
    measured = found.overall
    parts = [f"{measured.cells} cells, {measured.with_mn} with MN, {len(found.not_scored)} not scored"]
    if measured.stood_for is not None:
        parts.append(f"weighted, standing for {measured.stood_for.cells:.0f} cells")
    names = {"auc": "AUC", "average_precision": "AP", "f1": "F1", "sensitivity": "Se", "specificity": "Sp"}
    parts += [f"{word} {measured[name].value:.3f}" for name, word in names.items() if measured[name].value is not None]
    if found.request.prevalence is not None:
        again = measured.at("average_precision", found.request.prevalence).value
        if again is not None:
            parts.append(f"AP at {100 * found.request.prevalence:g} % {again:.3f}")
    if found.counts is not None:
        called, true = found.counts["mn_per_1000"].value, found.counts["true_mn_per_1000"].value
        parts.append(f"MN per 1000 {called:.0f} called, {true:.0f} true")
        parts.append(f"count error {found.counts['count_error'].value:.3f} MN a cell")
    tests = found.comparison
    if tests is not None and tests.delong is not None and tests.mcnemar is not None:
        parts.append(f"AUC difference {tests.delong.difference:+.3f} (DeLong p {tests.delong.p_value:.2g}")
        parts[-1] += f", McNemar p {tests.mcnemar.p_value:.2g})"
    played = [game for game in found.pointing if game.target == "any" and game.name in ("attention5", "evidence_drawn")]
    parts += [f"{game.name} points at MN {game.share:.2f}" for game in played]
    return f"{found.model.name}: {'; '.join(parts)}."
