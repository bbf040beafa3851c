"""`mnbatch model average`: one model from several, measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def average_command(
    models: Annotated[list[Path], typer.Argument(help="Model directories of one architecture.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Model directory to write.")],
    validation: Annotated[
        Path, typer.Option("--validation", help="Labelled crops to measure on, as for `mnbatch train`.")
    ],
    share: Annotated[
        list[float] | None,
        typer.Option(
            "--share", min=0.0, max=1.0, help="Weight of each model, in their order; without it all are equal."
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="Which synthetic cells are measured, the preparation, the threshold's rule.")
    ] = "default",
    synthetic_cells: Annotated[
        int, typer.Option("--made-cells", min=2, help="Cells of each synthetic source that are measured.")
    ] = 200,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="Micronuclei of the validation crops, for the pointing game.")
    ] = None,
    nuclei: Annotated[Path | None, typer.Option("--nuclei", help="As for `mnbatch train`.")] = None,
    smears: Annotated[Path | None, typer.Option("--smears", help="As for `mnbatch train`.")] = None,
    serves: Annotated[list[str] | None, typer.Option("--serves", help="Stain that the card states.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model, for its card.")] = "attention-alexnet",
    version: Annotated[str, typer.Option("--model-version", help="Version, for the card.")] = "1",
    licence: Annotated[str, typer.Option("--licence", help="Licence, for the card.")] = "not stated",
    note: Annotated[str, typer.Option("--note", help="What the card should say first about its limits.")] = "",
    crop_width: Annotated[
        float | None, typer.Option("--crop-width", min=1.0, help="Width of the crops in nucleus diameters.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the synthetic cells.")] = 1,
) -> None:
    """Average the weights of models that were trained from one another, measure the average, write its card.

    With one model: measure it again, for example for another way of preparing crops (a recipe says which).
    """
    from mnbatch.training.model_average import Ingredients, average_models
    from mnbatch.training.recipe import load_recipe
    from mnbatch.training.training_pools import Sources
    from mnbatch.training.training_request import Request

    shares = tuple(share) if share else (1 / len(models),) * len(models)
    request = Request(
        data=validation,
        out=out,
        sources=Sources(nuclei, smears),
        name=name,
        version=version,
        licence=licence,
        note=note,
        crop_width=crop_width,
        serves=tuple(serves) if serves else None,
        seed=seed,
    )
    ingredients = Ingredients(tuple(models), shares, masks, synthetic_cells)
    card = average_models(ingredients, request, load_recipe(recipe), lambda line: typer.echo(line, err=True))
    typer.echo(f"Model {card.name} {card.version} is in {out}; threshold {card.threshold:g}.")
