"""Options that say what the pages and files of a cell are, for every command that reads crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mnbatch.assay.page_options import PageOptions

NuclearChannel = Annotated[
    str | None, typer.Option("--nuclear-channel", help="Of crops with several channels: number from 1, or name.")
]
Planes = Annotated[
    str | None, typer.Option("--planes", help="Of focal planes: sharpest, max, or the number of one from 1.")
]
Time = Annotated[int | None, typer.Option("--time", min=1, help="Of several times: the number of one from 1.")]
Pages = Annotated[str | None, typer.Option("--pages", help="What TIFF pages are that do not say it, as for `run`.")]
Names = Annotated[
    str, typer.Option("--names", help="How files of one cell are named, in folders of crops; as for `run`.")
]


def page_options(
    nuclear_channel: str | None, planes: str | None, time: int | None, pages: str | None, names: str
) -> PageOptions:
    """What was said.

    Raises:
        UsageError: a value that does not fit.
    """
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.settings import check_pages

    said = PageOptions(nuclear_channel, planes, time, pages, None if names == "auto" else names)
    check_pages(said)
    return said
