"""What a person types. Each command lives in a small file of its own; torch and images are imported inside it."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from mnbatch import __version__
from mnbatch.cli.compare import compare
from mnbatch.cli.curve import curve_app
from mnbatch.cli.dose import dose
from mnbatch.cli.evaluate import evaluate
from mnbatch.cli.history import history
from mnbatch.cli.model import model_app
from mnbatch.cli.report import report
from mnbatch.cli.review import review_app
from mnbatch.cli.review_sign import sign
from mnbatch.cli.run import run
from mnbatch.cli.scan import scan
from mnbatch.cli.simulate import simulate
from mnbatch.cli.status import status
from mnbatch.cli.train import train
from mnbatch.errors import EXIT_INTERNAL, Interrupted, MnbatchError

app = typer.Typer(
    help="Micronucleus frequencies from slide-scanner exports: crawl, score, report, review.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run)
app.command("scan")(scan)
app.command("report")(report)
app.command("status")(status)
app.command("history")(history)
app.add_typer(curve_app, name="curve")
app.command("dose")(dose)
app.add_typer(model_app, name="model")
app.add_typer(review_app, name="review")
review_app.command("sign")(sign)
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("simulate")(simulate)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mnbatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Hold the options of mnbatch itself."""


def main() -> None:
    """Run the command line; every expected error becomes one clear line on stderr and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files come from file systems and may hold what the terminal's encoding has not.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except Interrupted as stop:
        _say(stop)
        raise SystemExit(stop.code) from None
    except MnbatchError as error:
        _say(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output went away (`mnbatch scan ... | head`): nobody is left to tell.
        raise SystemExit(EXIT_INTERNAL) from None
    except Exception as error:  # noqa: BLE001 - the last net: exit code 1 instead of a bare traceback
        print(f"mnbatch: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of mnbatch; please report it with the lines below.", file=sys.stderr)
        traceback.print_exc()
        raise SystemExit(EXIT_INTERNAL) from None


def _say(error: MnbatchError) -> None:
    print(f"mnbatch: {error.message}", file=sys.stderr)
    if error.next_step:
        print(f"  {error.next_step}", file=sys.stderr)
