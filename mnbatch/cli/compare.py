"""`mnbatch compare`: labelled crops in, the paper's tables and figure of all networks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnbatch.cli.ended_by_signals import ended_by_signals

if TYPE_CHECKING:
    from mnbatch.comparison.comparison_run import Comparison
    from mnbatch.training.recipe import Recipe


def compare(
    data: Annotated[
        Path,
        typer.Argument(help="Folder with mn/ and nomn/, or a CSV: file, label or mn_count, slide, donor."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the tables; finished runs are kept in OUT/cells/.")],
    networks: Annotated[str, typer.Option("--networks", help="all, or names with commas.")] = "all",
    protocols: Annotated[str, typer.Option("--protocols", help="tad, tvad, or both with a comma.")] = "tad,tvad",
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Splits and starts; 3 unless reduced.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="60, as the paper, unless reduced.")] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=4, help="At most so many training cells (a third for validation); test is whole."),
    ] = None,
    reduced: Annotated[
        bool, typer.Option("--reduced", help="2 epochs, 240 training cells, 1 seed, minibatch 8, where not given.")
    ] = False,
    init: Annotated[
        list[Path] | None,
        typer.Option("--init", help="Backbone weights with torchvision's names (.pth, .safetensors); repeatable."),
    ] = None,
    start: Annotated[
        Literal["both", "scratch", "weights"],
        typer.Option("--start", help="Where weights fit a network: from them, from scratch, or both."),
    ] = "both",
    minibatch: Annotated[int | None, typer.Option("--minibatch", min=2, help="32 unless reduced.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", min=1e-6, help="0.01, as the paper.")
    ] = None,
    bf16: Annotated[
        bool, typer.Option("--bf16/--no-bf16", help="Train with bfloat16 autocast; the tables state it.")
    ] = False,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of cells with MN for which AP and F1 are given again."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads on the CPU; 0: all cores.")] = 0,
) -> None:
    """Train and test every network in the same way, under the paper's protocols; finished runs are not run again."""
    import os

    import torch

    from mnbatch.comparison import comparison_settings as known
    from mnbatch.comparison.comparison_run import FOLDER
    from mnbatch.comparison.comparison_run import compare as compare_networks
    from mnbatch.comparison.comparison_tables import comparison_csv, comparison_figure, comparison_markdown
    from mnbatch.files import write_files
    from mnbatch.training.kept_folder import full_disk_told

    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter("--prevalence is a share between 0 and 1.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = known.Settings(
        networks=known.parse_networks(networks),
        protocols=known.parse_protocols(protocols),
        seeds=seeds or (known.REDUCED_SEEDS if reduced else 3),
        recipe=_recipe(reduced, epochs, minibatch, learning_rate, bf16),
        limit=limit or (known.REDUCED_LIMIT if reduced else None),
        init=tuple(init or ()),
        starts=start,
        prevalence=prevalence,
        device=device,
        threads=threads or os.cpu_count() or 1,
    )

    def publish(table: Comparison) -> None:
        page = {"comparison.csv": comparison_csv(table), "comparison.md": comparison_markdown(table).encode()}
        write_files(out, page)

    finished = f"the runs that are finished are kept in {out / FOLDER}"
    with ended_by_signals(lambda: finished), full_disk_told(out / FOLDER, finished):
        found = compare_networks(
            data_path=data,
            out=out,
            settings=wanted,
            say=lambda line: typer.echo(line, err=True),
            retry_failed=retry_failed,
            publish=publish,
        )
        publish(found)
        write_files(out, comparison_figure(found))
    failed = sum(outcome.status == "failed" for outcome in found.outcomes)
    typer.echo(f"{len(found.outcomes)} of {found.planned} runs in {out}/comparison.md; {failed} failed.")


def _recipe(
    reduced: bool, epochs: int | None, minibatch: int | None, learning_rate: float | None, bf16: bool
) -> Recipe:
    from mnbatch.comparison.comparison_settings import REDUCED_EPOCHS, REDUCED_MINIBATCH
    from mnbatch.training.recipe import PAPER

    changes = {
        "epochs": epochs or (REDUCED_EPOCHS if reduced else None),
        "minibatch": minibatch or (REDUCED_MINIBATCH if reduced else None),
        "learning_rate": learning_rate,
        "bf16": bf16,
    }
    return PAPER.model_copy(update={name: value for name, value in changes.items() if value is not None})
