"""`mnbatch review sign`: who stands for a donor's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.cli.review import Out, made_again, open_store

if TYPE_CHECKING:
    from mnbatch.report.sign_off import SignRequest
    from mnbatch.results.store import Store


def sign(
    out: Out,
    donor: Annotated[str, typer.Option("--donor", help="Whose result is signed, by the code of donors.csv.")],
    name: Annotated[str, typer.Option("--name", help="Who signs.")],
    role: Annotated[str, typer.Option("--role", help="Of the signer, as it is to stand there.")] = "",
    unfinished: Annotated[
        str, typer.Option("--unfinished", metavar="REASON", help="Sign although the review is not complete, and why.")
    ] = "",
    digest: Annotated[
        str, typer.Option("--digest", help="Sign only this: the digest that the donor's page showed (32 digits).")
    ] = "",
) -> None:
    """Sign a donor's result: the results, the review and the dose as they are now, bound by a digest.

    A record in an append-only trail, shown on the donor's page, its page for print and in donors.csv. It is no
    qualified electronic signature. When what was signed changes, it is kept and marked as outdated.

    Exit codes: 0 signed; 2 no such donor, a review that is not complete, a broken name; 4 OUT holds no results; 5 the
    result is not the one of --digest; 10 unreadable or disk full; 11 a run holds OUT.
    """
    from mnbatch.report.sign_off import SignRequest

    request = SignRequest(donor=donor, name=name, role=role, reason=unfinished, digest=digest)
    typer.echo(_signed(open_store(out), request))


def sign_as_asked(store: Store, asked: Mapping[str, str]) -> str:
    """What the form of a donor's page asked for; says what was done."""
    from mnbatch.report.sign_off import SignRequest

    return _signed(store, SignRequest(**asked))


def _signed(store: Store, request: SignRequest) -> str:
    from mnbatch.report.sign_off import sign_donor

    signature, added = sign_donor(store, request, lambda: made_again(store))
    numbers, basis = signature.basis.numbers, signature.basis
    text = (
        f"donor {signature.donor}: {numbers['mnbn_cells']} MNBN of {numbers['bn_cells']} cells, "
        f"review {basis.review_status}, digest {signature.digest}\n"
    )
    did = "signed by" if added else "was signed already by"
    return text + f"{did} {signature.name}{f' ({signature.role})' if signature.role else ''}, {signature.time}"
